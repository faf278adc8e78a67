"""`_bulk` over HTTP: the bytes that clients look at, and what is stored for them."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.buffer.acks import subscribe
from headrace.buffer.base import partition_of
from headrace.buffer.writer import Bounds
from headrace.core.errors import RequestError
from headrace.serve import tokens
from headrace.serve.names import Target
from intake import Service, ndjson, service

AWAY = RequestError(503, "outcome_unknown", "the ingester is away; safe to repeat")
VENDOR = "application/vnd.elasticsearch+json; compatible-with=9"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path) as found:
        yield found


def derived(served: Service, index: str, record: int) -> str:
    """As the index derives it: by pipeline, partition, and record."""
    target = served.shelf.targets[index]
    key = "\0".join((target.pipeline, partition_of(served.buffer.incarnation, target.log)))
    return f"{blake2b(key.encode(), digest_size=8).hexdigest()[:11]}-{record}"


def items(answer: Any) -> list[tuple[str, int]]:
    return [(name, item["status"]) for one in answer.json()["items"] for name, item in one.items()]


def test_the_answer_is_compact_with_errors_just_before_items(served: Service) -> None:
    """Vector and Fluent Bit look for exactly these bytes."""
    answer = served.bulk([{"index": {"_index": "logs", "_id": "a"}}, {"n": 1}])
    expected = (
        rb'\{"took":\d+,"errors":false,"items":\[\{"index":\{"_index":"logs","_id":"a","_version":1,"result":"created",'
        rb'"_shards":\{"total":1,"successful":1,"failed":0\},"_seq_no":0,"_primary_term":1,"status":201\}\}\]\}'
    )
    assert re.fullmatch(expected, answer.content)
    assert 200 == answer.status_code
    assert "Elasticsearch" == answer.headers["X-Elastic-Product"]
    assert "application/json" == answer.headers["Content-Type"]


def test_the_vendor_type_is_answered_in_kind(served: Service) -> None:
    kind = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"
    answer = served.bulk([{"index": {}}, {}], "/logs/_bulk", headers={"Content-Type": kind, "Accept": VENDOR})
    assert "application/vnd.elasticsearch+json;compatible-with=9" == answer.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/_bulk", "/es/_bulk", "/logs/_bulk", "/es/logs/_bulk"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_both_methods_and_all_paths_are_one(served: Service, path: str, method: str) -> None:
    content = ndjson([{"create": {"_index": "logs"}}, {"n": 1}])
    answer = served.client.request(
        method, path, content=content, headers={"Content-Type": "application/json"}
    )
    assert [("create", 201)] == items(answer)
    assert {"n": 1} == served.stored()[0].document


def test_ids_are_derived_as_the_index_derives_them(served: Service) -> None:
    served.bulk([{"index": {"_index": "logs"}}, {"n": 0}])
    answer = served.bulk([{"index": {"_index": "logs"}}, {"n": 1}] * 2).json()
    assert [derived(served, "logs", 1), derived(served, "logs", 2)] == [
        i["index"]["_id"] for i in answer["items"]
    ]
    assert [1, 2] == [i["index"]["_seq_no"] for i in answer["items"]]
    assert [2, 3] == [i["index"]["_version"] for i in answer["items"]]
    assert [None] * 3 == [one.id for one in served.stored()]


def test_odd_ids_come_back_as_they_went(served: Service) -> None:
    keys = ['a"b', "ö\n\\", "\x01", "x/y z", 7]
    answer = served.bulk([line for key in keys for line in ({"index": {"_index": "logs", "_id": key}}, {})])
    assert [str(key) for key in keys] == [i["index"]["_id"] for i in answer.json()["items"]]
    assert [str(key) for key in keys] == [one.id for one in served.stored()]


def test_one_bad_document_costs_only_itself(served: Service) -> None:
    body = b'{"index":{"_id":"1"}}\n{"a":1}\n{"index":{"_id":"2"}}\n{"a":\n{"index":{"_id":"3"}}\n{"a":3}\n'
    answer = served.bulk(body, "/logs/_bulk")
    assert [("index", 201), ("index", 400), ("index", 201)] == items(answer)
    assert b'"errors":true,"items":[' in answer.content
    wrong = answer.json()["items"][1]["index"]
    assert {"_index": "logs", "_id": "2", "status": 400} == {
        name: wrong[name] for name in ("_index", "_id", "status")
    }
    assert "document_parsing_exception" == wrong["error"]["type"]
    assert "json_parse_exception" == wrong["error"]["caused_by"]["type"]
    assert ["1", "3"] == [one.id for one in served.stored()]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "parse_exception", "request body is required"),
        (b"\n\n", "action_request_validation_exception", "Validation Failed: 1: no requests added;"),
        (
            b'{"index":{"_index":"logs"}}\n{}',
            "illegal_argument_exception",
            "The bulk request must be terminated by a newline [\\n]",
        ),
        (
            b'{"index":{}}\n{}\n',
            "action_request_validation_exception",
            "Validation Failed: 1: index is missing;",
        ),
        (
            b'{"index":{"_index":"logs"}}\n{}\n{"oops":{}}\n',
            "illegal_argument_exception",
            "Malformed action/metadata line [3], expected field",
        ),
    ],
)
def test_a_malformed_request_is_refused_whole(served: Service, body: bytes, kind: str, reason: str) -> None:
    answer = served.bulk(body)
    assert 400 == answer.status_code == answer.json()["status"]
    assert kind == answer.json()["error"]["type"] == answer.json()["error"]["root_cause"][0]["type"]
    assert reason in answer.json()["error"]["reason"]
    assert "logs" not in served.shelf.targets


def test_outcomes_of_conditional_operations_are_waited_for(served: Service) -> None:
    """PROTOCOL 19: create with an id, update and delete answer what became of them, in log order."""
    answer = served.bulk(
        [
            {"create": {"_id": "1"}}, {"n": 1},
            {"create": {"_id": "1"}}, {"n": 2},
            {"update": {"_id": "1"}}, {"doc": {"m": 3}},
            {"update": {"_id": "1"}}, {"doc": {"m": 3}},
            {"update": {"_id": "2"}}, {"doc": {"m": 3}},
            {"update": {"_id": "2"}}, {"doc": {"m": 4}, "doc_as_upsert": True},
            {"delete": {"_id": "2"}},
            {"index": {"_id": "1", "if_seq_no": 2, "if_primary_term": 1}}, {"n": 5},
            {"index": {"_id": "1", "if_seq_no": 2, "if_primary_term": 1}}, {"n": 6},
            {"index": {"_id": "1"}}, {"n": 7},
        ],
        "/logs/_bulk",
    )  # fmt: skip
    found = [
        (name, item["status"], item.get("result"))
        for one in answer.json()["items"]
        for name, item in one.items()
    ]
    assert [
        ("create", 201, "created"),
        ("create", 409, None),
        ("update", 200, "updated"),
        ("update", 200, "noop"),
        ("update", 404, None),
        ("update", 201, "created"),
        ("delete", 200, "deleted"),
        ("index", 200, "updated"),
        ("index", 409, None),
        ("index", 200, "updated"),
    ] == found
    errors = [
        item["error"]["type"] for one in answer.json()["items"] for item in one.values() if "error" in item
    ]
    assert [
        "version_conflict_engine_exception",
        "document_missing_exception",
        "version_conflict_engine_exception",
    ] == errors
    assert [("uuid-logs", 10, "applied", False, 30.0)] == served.model.waits


def test_a_delete_of_what_is_not_there_is_no_error(served: Service) -> None:
    served.bulk([{"index": {"_index": "logs"}}, {}])
    answer = served.bulk([{"delete": {"_index": "logs", "_id": "no"}}])
    assert b'"errors":false,"items":[{"delete":' in answer.content
    [item] = answer.json()["items"]
    assert ("not_found", 404) == (item["delete"]["result"], item["delete"]["status"])
    assert "error" not in item["delete"]


def test_what_needs_no_outcome_does_not_wait(served: Service) -> None:
    """PROTOCOL 19: index, and create without an id, answer when durable."""
    served.model.away = AWAY
    answer = served.bulk([{"index": {"_id": "1"}}, {}, {"create": {}}, {}], "/logs/_bulk")
    assert [("index", 201), ("create", 201)] == items(answer)
    assert [] == served.model.waits
    assert [False, False] == [one.exact for one in served.stored()]


@pytest.mark.parametrize(
    ("parameters", "headers", "force"),
    [
        ({"ack": "indexed"}, {}, False),
        ({}, {"Headrace-Ack": "indexed"}, False),
        ({"refresh": "wait_for"}, {}, False),
        ({"refresh": "true"}, {}, True),
        ({"refresh": ""}, {}, True),
    ],
)
def test_searchable_results_are_exact(
    served: Service, parameters: dict[str, str], headers: dict[str, str], force: bool
) -> None:
    answer = served.bulk(
        [
            {"index": {"_id": "1"}},
            {"n": 1},
            {"index": {"_id": "1"}},
            {"n": 2},
            {"index": {"_id": "2"}},
            {"poison": 1},
        ],
        "/logs/_bulk?timeout=5s",
        params=parameters | {"timeout": "5s"},
        headers=headers,
    )
    assert [("index", 201), ("index", 200), ("index", 400)] == items(answer)
    assert [("uuid-logs", 3, "visible", force, 5.0)] == served.model.waits
    assert force == ("forced_refresh" in answer.json()["items"][0]["index"])


def test_an_index_may_be_declared_to_answer_when_searchable(tmp_path: Path) -> None:
    """PROTOCOL 20."""
    with service(tmp_path, Target("logs", "u", "logs", "p", ack="indexed")) as served:
        served.bulk([{"index": {"_index": "logs"}}, {}])
        served.bulk([{"index": {"_index": "logs"}}, {}], params={"ack": "durable"})
        assert [("logs", 1, "visible", False, 30.0)] == served.model.waits


def test_without_the_ingester_outcomes_are_unknown_and_the_rest_is_stored(served: Service) -> None:
    """PROTOCOL 19: the client loses only the answer."""
    served.model.away = AWAY
    mixed = served.bulk([{"index": {}}, {"n": 1}, {"delete": {"_id": "2"}}], "/logs/_bulk")
    assert [("index", 201), ("delete", 503)] == items(mixed)
    assert "outcome_unknown" == mixed.json()["items"][1]["delete"]["error"]["type"]
    alone = served.bulk([{"delete": {"_id": "2"}}], "/logs/_bulk")
    assert 503 == alone.status_code
    assert "outcome_unknown" == alone.json()["error"]["type"]
    indexed = served.bulk([{"index": {}}, {"n": 1}], "/logs/_bulk?ack=indexed")
    assert 503 == indexed.status_code
    assert 4 == len(served.stored())


def test_several_indexes_in_one_request(served: Service) -> None:
    answer = served.bulk(
        [
            {"index": {"_index": "a"}},
            {"n": 1},
            {"index": {"_index": "b"}},
            {"n": 2},
            {"index": {"_index": "a"}},
            {"n": 3},
        ]
    )
    assert [("a", 0), ("b", 0), ("a", 1)] == [
        (i["index"]["_index"], i["index"]["_seq_no"]) for i in answer.json()["items"]
    ]
    assert [{"n": 1}, {"n": 3}] == [one.document for one in served.stored("a")]
    found = tokens.decode(answer.headers["Headrace-Token"])
    assert [("a", "uuid-a", "push:a", 2), ("b", "uuid-b", "push:b", 1)] == [
        (t.index, t.uuid, t.pipeline, t.record) for t in found
    ]


def test_an_index_that_may_not_be_made_costs_only_its_records(tmp_path: Path) -> None:
    with service(tmp_path, Target("logs", "u", "l", "p"), auto_create=False) as served:
        answer = served.bulk([{"index": {"_index": "nope"}}, {}, {"index": {"_index": "logs"}}, {}])
        assert [("index", 404), ("index", 201)] == items(answer)
        assert "index_not_found_exception" == answer.json()["items"][0]["index"]["error"]["type"]


def test_a_delete_makes_no_index(served: Service) -> None:
    assert [("delete", 404)] == items(served.bulk([{"delete": {"_index": "nope", "_id": "1"}}]))
    assert [] == served.shelf.names()


def test_a_wrong_name_costs_only_its_records(served: Service) -> None:
    answer = served.bulk([{"index": {"_index": "Nope"}}, {}, {"index": {"_index": "logs"}}, {}])
    assert [("index", 400), ("index", 201)] == items(answer)


def test_an_alias_is_answered_by_its_index_and_may_be_required(tmp_path: Path) -> None:
    with service(tmp_path, Target("logs-1", "u", "l", "p")) as served:
        served.shelf.aliases["logs"] = "logs-1"
        answer = served.bulk(
            [{"index": {"_index": "logs"}}, {}, {"index": {"_index": "logs-1", "require_alias": True}}, {}]
        )
        assert [("logs-1", 201), ("logs-1", 404)] == [
            (i["index"]["_index"], i["index"]["status"]) for i in answer.json()["items"]
        ]
        assert [("index", 201)] == items(
            served.bulk([{"index": {"_index": "logs"}}, {}], params={"require_alias": "true"})
        )


def test_where_fields_decide_an_id_it_is_not_guessed(tmp_path: Path) -> None:
    with service(tmp_path, Target("logs", "u", "l", "p", key=("host",))) as served:
        answer = served.bulk([{"index": {"_index": "logs"}}, {"host": "a"}])
        assert [("index", 201)] == items(answer)
        assert answer.json()["items"][0]["index"]["_id"] is None


def test_logstash_gets_only_what_it_asks_for(served: Service) -> None:
    body = b'{"index":{}}\n{"a":1}\n{"index":{}}\nno\n'
    answer = served.bulk(body, "/logs/_bulk?filter_path=errors,items.*.error,items.*.status")
    first, second = answer.json()["items"]
    assert {"index": {"status": 201}} == first
    assert {"status", "error"} == set(second["index"])
    assert answer.content.startswith(b'{"errors":true,"items":[{"index":{"status":201}},')
    other = served.bulk(body, "/logs/_bulk?filter_path=items.*._id").json()
    assert ["items"] == list(other)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/_bulk?refresh=maybe", "Unknown value for refresh: [maybe]."),
        ("/_bulk?ack=memory", "unknown value for ack: [memory]; have: durable, indexed"),
        ("/_bulk?timeout=soon", "failed to parse setting [timeout] with value [soon]"),
        ("/_bulk?refrehs=true", "unrecognized parameter: [refrehs]; did you mean 'refresh'"),
        ("/_bulk?_source=true", "[_source] of an update is not answered"),
    ],
)
def test_wrong_parameters_are_told(served: Service, path: str, reason: str) -> None:
    answer = served.bulk([{"index": {"_index": "logs"}}, {}], path)
    assert 400 == answer.status_code
    assert reason in answer.json()["error"]["reason"]


def test_parameters_that_steer_a_cluster_are_passed_over(served: Service) -> None:
    path = "/_bulk?timeout=60s&pipeline=p&routing=r&wait_for_active_shards=1&error_trace=true&require_alias=false&_source=false"
    assert 200 == served.bulk([{"index": {"_index": "logs"}}, {}], path).status_code


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/x-ndjson; charset=UTF-8", 200),
        ("application/vnd.elasticsearch+json; compatible-with=7", 200),
        ("application/vnd.elasticsearch+x-ndjson;compatible-with=8", 200),
        ("application/vnd.elasticsearch+x-ndjson; compatible-with=6", 400),
        ("application/x-www-form-urlencoded", 406),
        ("application/cbor", 406),
        ("application/json; charset=latin1", 406),
        ("", 406),
    ],
)
def test_content_types(served: Service, kind: str, status: int) -> None:
    answer = served.bulk([{"index": {"_index": "logs"}}, {}], headers={"Content-Type": kind})
    assert status == answer.status_code
    if status != 200:
        assert "media_type_header_exception" == answer.json()["error"]["type"]


def test_a_full_buffer_refuses_the_whole_request_before_it_is_read(tmp_path: Path) -> None:
    """PROTOCOL 14: nothing is accepted, not even looked at, and the client is told when to come again."""
    bounds = Bounds(max_bytes=1 << 20, log_bytes=1 << 20, max_age=None, file_bytes=1 << 20)
    with service(tmp_path, bounds=bounds) as served:
        subscribe(served.directory, "logs", "uuid-logs")
        assert served.client.portal is not None
        served.client.portal.call(served.buffer.look)
        served.bulk([{"index": {"_index": "logs"}}, {"n": os.urandom(400_000).hex()}])
        answer = served.bulk(b"x" * 900_000)
        assert 429 == answer.status_code == answer.json()["status"]
        assert 1 <= int(answer.headers["Retry-After"])
        assert "es_rejected_execution_exception" == answer.json()["error"]["type"]
        assert 1 == len(served.stored())


def test_a_buffer_that_cannot_be_written_is_a_503_that_says_so(served: Service) -> None:
    assert served.client.portal is not None
    served.client.portal.call(served.buffer.close)
    answer = served.bulk([{"index": {"_index": "logs"}}, {}])
    assert 503 == answer.status_code
    assert 1 <= int(answer.headers["Retry-After"])
    assert "the buffer is closed" in answer.json()["error"]["reason"]
    assert "nothing was accepted" in answer.json()["error"]["reason"]


def test_nothing_is_taken_while_going_down(tmp_path: Path) -> None:
    with service(tmp_path, refusing=lambda: "the service is going down") as served:
        answer = served.bulk([{"index": {"_index": "logs"}}, {}])
        assert 503 == answer.status_code
        assert "1" == answer.headers["Retry-After"]
        assert "going down; nothing was accepted" in answer.json()["error"]["reason"]


class TestAKey:
    """`Idempotency-Key`."""

    BODY = ndjson([{"index": {"_index": "logs"}}, {"n": 1}])

    def test_a_repeated_request_gets_its_answer_and_changes_nothing(self, served: Service) -> None:
        first, second = (served.bulk(self.BODY, headers={"Idempotency-Key": "k1"}) for _ in range(2))
        assert first.content == second.content
        assert first.headers["Headrace-Token"] == second.headers["Headrace-Token"]
        assert "true" == second.headers["Idempotency-Replayed"]
        assert 1 == len(served.stored())

    def test_another_body_under_it_is_refused(self, served: Service) -> None:
        served.bulk(self.BODY, headers={"Idempotency-Key": "k1"})
        answer = served.bulk(self.BODY * 2, headers={"Idempotency-Key": "k1"})
        assert 400 == answer.status_code
        assert "was used for another body" in answer.json()["error"]["reason"]

    def test_it_holds_over_a_restart(self, tmp_path: Path) -> None:
        """The answer is stored with the records."""
        answers = []
        for _ in range(2):
            with service(tmp_path, Target("logs", "u", "l", "p")) as served:
                answers.append(served.bulk(self.BODY, headers={"Idempotency-Key": "k1"}).content)
                assert 1 == len(served.stored())
        assert answers[0] == answers[1]

    def test_outcomes_are_answered_again_too(self, served: Service) -> None:
        body = ndjson([{"create": {"_index": "logs", "_id": "1"}}, {"n": 1}])
        first, second = (served.bulk(body, headers={"Idempotency-Key": "k1"}) for _ in range(2))
        assert [("create", 201)] == items(second)
        assert first.content == second.content

    def test_requests_at_once_under_one_key_are_one(self, served: Service) -> None:
        """A client that gave up waiting sends again while the first is under way."""
        with ThreadPoolExecutor(8) as pool:
            send = partial(served.bulk, self.BODY, headers={"Idempotency-Key": "k1"})
            answers = {done.result().content for done in [pool.submit(send) for _ in range(8)]}
        assert 1 == len(answers) == len(served.stored())
        assert {} == served.push.keys._held

    def test_a_refused_request_may_be_sent_again(self, served: Service) -> None:
        assert 400 == served.bulk(b"no\n", headers={"Idempotency-Key": "k1"}).status_code
        assert 200 == served.bulk(self.BODY, headers={"Idempotency-Key": "k1"}).status_code


ACTIONS = st.sampled_from(["index", "create", "update", "delete"])
DOCUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=9), max_size=3)


@given(
    st.lists(
        st.tuples(ACTIONS, st.sampled_from(["a", "b"]), st.integers(0, 4), DOCUMENTS), min_size=1, max_size=12
    ),
    st.booleans(),
)
@settings(deadline=None)
def test_items_align_and_entries_hold_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, str, int, dict[str, Any]]], packed: bool
) -> None:
    """Any mixture: the n-th item answers the n-th action, and each log holds its documents in order."""
    lines: list[Any] = []
    for op, index, key, document in asked:
        lines.append({op: {"_index": index, "_id": f"{key}"}})
        if op != "delete":
            lines.append({"doc": document, "doc_as_upsert": True} if op == "update" else document)
    body = ndjson(lines)
    with service(tmp_path_factory.mktemp("buffer")) as served:
        for name in "ab":  # a delete makes none
            served.bulk([{"index": {"_index": name, "_id": "0"}}, {}])
        headers = {"Content-Encoding": "gzip"} if packed else {}
        answer = served.bulk(gzip.compress(body) if packed else body, headers=headers).json()
        assert [(op, index, f"{key}") for op, index, key, _ in asked] == [
            (op, item["_index"], item["_id"]) for one in answer["items"] for op, item in one.items()
        ]
        for name in "ab":
            expected = [
                (op[0], f"{key}", None if op == "delete" else document)
                for op, index, key, document in asked
                if index == name
            ]
            assert expected == [(one.op, one.id, one.document) for one in served.stored(name)[1:]]
        assert answer["errors"] == any(
            item["status"] == 409 for one in answer["items"] for item in one.values()
        )


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                b'{"index":{}}',
                b'{"delete":{"_id":1}}',
                b"{}",
                b"",
                b"\xff",
                b"[",
                b'{"update":{"_id":"1"}}',
                b'{"doc":{}}',
            ]
        ),
        max_size=9,
    ).map(b"\n".join)
)
@settings(deadline=None)
def test_no_bytes_at_all_are_a_500(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    with service(tmp_path_factory.mktemp("buffer")) as served:
        for path in ("/_bulk", "/logs/_bulk"):
            answer = served.bulk(body + b"\n", path)
            assert answer.status_code in (200, 400)
            assert json.loads(answer.content)
