"""Bulk bodies → runs: the fast ways and the slow one find the same, wherever a body is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.serve.bulk.pieces import Named, Run, _one_by_one, runs

LOGS = Named("logs")

Flat = tuple[str, str, str | None, bytes, str | None, int | None, str | None]

documents = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=8), max_size=3)
bad_documents = st.sampled_from([b"", b"[1]", b'{"a":', b'{"a":"\xff"}', b"7", b'{"a":1} {}'])
ids = st.none() | st.text(min_size=1, max_size=9) | st.integers(0, 99)


def line(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def actions(draw: st.DrawFn) -> bytes:
    """One action with its document."""
    op = draw(st.sampled_from(["index", "index", "create", "update", "delete"]))
    said: dict[str, Any] = {}
    if op in ("update", "delete") or draw(st.booleans()):
        said["_id"] = draw(ids.filter(lambda key: key is not None))
    if draw(st.booleans()):
        said["_index"] = draw(st.sampled_from(["logs", "other"]))
    head = line({op: said}) + b"\n"
    if op == "delete":
        return head
    body: Any = draw(documents)
    if op == "update":
        body = {"doc": body} | draw(
            st.sampled_from([{}, {"doc_as_upsert": True}, {"upsert": {"a": 1}}, {"script": "x"}])
        )
    return head + (line(body) if draw(st.integers(0, 9)) else draw(bad_documents)) + b"\n"


def flat(found: list[Run]) -> list[Flat]:
    """One entry per action, whatever runs they were in."""
    return [
        (
            run.op,
            run.index,
            run.ids[place] if run.ids else None,
            run.documents[place] if run.documents else b"",
            run.bodies.get(place),
            run.if_seq.get(place),
            run.refusal.reason if run.refusal else None,
        )
        for run in found
        for place in range(run.count)
    ]


def slowly(body: bytes) -> list[Flat]:
    return flat(_one_by_one(body.split(b"\n")[:-1], LOGS, 0, last=True)[0])


@given(st.lists(actions(), min_size=1, max_size=20))
def test_the_fast_ways_and_the_slow_one_find_the_same(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert slowly(body) == flat(runs(body, LOGS, 0, last=True)[0])


@given(
    st.lists(documents, min_size=1, max_size=9),
    st.sampled_from(["index", "create"]),
    st.lists(ids, min_size=9, max_size=9),
)
def test_ids_of_any_kind_go_the_fast_way(bodies: list[Any], op: str, keys: list[Any]) -> None:
    body = b"".join(
        line({op: {"_id": key} if key is not None else {}}) + b"\n" + line(document) + b"\n"
        for document, key in zip(bodies, keys, strict=False)
    )
    compact = body.replace(b'{"index": ', b'{"index":').replace(b'{"create": ', b'{"create":')
    found = runs(compact, LOGS, 0, last=True)[0]
    assert slowly(body) == flat(found)
    assert 1 == len(found)


@given(st.lists(actions(), min_size=1, max_size=12), st.data())
def test_a_body_is_the_same_wherever_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    """Cut at line ends, as bodies are; an action whose document is in the next piece waits for it."""
    body = b"".join(parts)
    ends = [at + 1 for at, byte in enumerate(body) if byte == 10]
    cuts = sorted(data.draw(st.sets(st.sampled_from(ends), max_size=5)) | {len(body)})
    found: list[Run] = []
    left, number, start = b"", 0, 0
    for cut in cuts:
        more, left, number = runs(left + body[start:cut], LOGS, number, last=cut == len(body))
        found += more
        start = cut
    assert flat(runs(body, LOGS, 0, last=True)[0]) == flat(found)
    assert (b"", body.count(b"\n")) == (left, number)


def test_lines_may_end_as_on_windows_and_an_empty_one_may_follow() -> None:
    body = b'{"index":{}}\r\n{"a":1}\r\n\n{"delete":{"_id":"1"}}\r\n\n'
    assert [("i", b'{"a":1}'), ("d", b"")] == [
        (run.op, run.documents[0]) for run in runs(body, LOGS, 0, last=True)[0]
    ]
    ended = b'{"index":{}}\n{"a":1}\n' * 3 + b"\n"
    assert [3] == [run.count for run in runs(ended, LOGS, 0, last=True)[0]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"index":{}}\n{"a":1}', "The bulk request must be terminated by a newline [\\n]"),
        (b'{"index":{}}\n{"a":1}\n{"index":{}}\n', "Malformed action/metadata line [3], expected a document"),
        (b"[1]\n", "Malformed action/metadata line [1], expected [START_OBJECT] but found [START_ARRAY]"),
        (b"{}\n", "Malformed action/metadata line [1], expected [FIELD_NAME] but found [END_OBJECT]"),
        (
            b'{"index":{}}\n{}\nnope\n{}\n',
            "Malformed action/metadata line [3], expected a JSON object but found [nope]",
        ),
        (
            b'{"indx":{}}\n{}\n',
            "expected field [create], [delete], [index] or [update] but found [indx]; did you mean 'index'",
        ),
        (
            b'{"index":"a"}\n{}\n',
            "Malformed action/metadata line [1], expected [START_OBJECT] but found [VALUE_STRING]",
        ),
        (
            b'{"index":{},"delete":{}}\n{}\n',
            "Malformed action/metadata line [1], expected [END_OBJECT] but found [FIELD_NAME]",
        ),
        (
            b'{"index":{"_idd":1}}\n{}\n',
            "Action/metadata line [1] contains an unknown parameter [_idd]; did you mean '_id'",
        ),
        (b'{"index":{"_id":[1]}}\n{}\n', "expected a simple value for field [_id] but found [START_ARRAY]"),
        (b'{"index":{"_id":"\xff"}}\n{}\n', "Malformed action/metadata line [1], expected a JSON object"),
        (b'{"delete":{}}\n', "Validation Failed: 1: id is missing;"),
    ],
)
def test_what_is_malformed_refuses_the_request(body: bytes, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        runs(body, LOGS, 0, last=True)
    assert 400 == caught.value.status
    assert reason in caught.value.reason


def test_an_action_without_an_index_anywhere_refuses_the_request() -> None:
    with pytest.raises(RequestError, match="Validation Failed: 1: index is missing;"):
        runs(b'{"index":{}}\n{}\n' * 2, Named(), 0, last=True)


@pytest.mark.parametrize(
    ("action", "document", "status", "reason"),
    [
        (
            {"index": {"_id": "x" * 513}},
            {},
            400,
            "is too long, must be no longer than 512 bytes but was: 513",
        ),
        ({"index": {"_id": "ö" * 257}}, {}, 400, "must be no longer than 512 bytes but was: 514"),
        ({"index": {"_id": ""}}, {}, 400, "if _id is specified it must not be empty"),
        ({"index": {"_id": 1.5}}, {}, 400, "must be a string or a whole number"),
        (
            {"index": {"version": 3, "version_type": "external"}},
            {},
            400,
            "[version_type] [external] is not supported",
        ),
        ({"index": {"version": 3}}, {}, 400, "Please use `if_seq_no` and `if_primary_term` instead"),
        (
            {"create": {"_id": "1", "if_seq_no": 3, "if_primary_term": 1}},
            {},
            400,
            "create operations do not support",
        ),
        ({"index": {"_id": "1", "if_seq_no": 3}}, {}, 400, "if_seq_no is set, but primary term is [0]"),
        ({"index": {"_id": "1", "if_seq_no": 3, "if_primary_term": 2}}, {}, 409, "version conflict"),
        ({"index": {"op_type": "upsert"}}, {}, 400, "opType must be 'create' or 'index', found: [upsert]"),
        (
            {"update": {"_id": "1"}},
            {"script": {"source": "x"}},
            400,
            "scripts are not supported; send the changed",
        ),
        ({"update": {"_id": "1"}}, {"dco": {}}, 400, "[UpdateRequest] unknown field [dco]"),
        ({"update": {"_id": "1"}}, {}, 400, "script or doc is missing"),
        ({"update": {"_id": "1"}}, {"doc_as_upsert": True}, 400, "doc must be specified"),
        ({"update": {"_id": "1"}}, {"doc": 3}, 400, "failed to parse"),
        ({"update": {"_id": "1"}}, {"doc": {}, "doc_as_upsert": 1}, 400, "must be true or false"),
        (
            {"update": {"_id": "1"}},
            {"doc": {}, "_source": True},
            400,
            "[_source] of an update is not answered",
        ),
        (
            {"update": {"_id": "1", "if_seq_no": 1, "if_primary_term": 1}},
            {"doc": {}, "upsert": {}},
            400,
            "upsert requests",
        ),
    ],
)
def test_what_is_wrong_with_one_record_refuses_only_that(
    action: Any, document: Any, status: int, reason: str
) -> None:
    good = b'{"index":{}}\n{"a":1}\n'
    found = runs(good + line(action) + b"\n" + line(document) + b"\n" + good, LOGS, 0, last=True)[0]
    assert [None, None] == [found[0].refusal, found[2].refusal]
    refusal = found[1].refusal
    assert refusal is not None
    assert status == refusal.status
    assert reason in refusal.reason


@pytest.mark.parametrize(
    ("document", "place", "cause"),
    [
        (b"", "[1:1]", "the document is empty"),
        (b'{"a":nul}', "[1:7]", "invalid character"),
        (b'{"a":"\xff"}', "[1:7]", "invalid UTF-8"),
        (b"[]", "[1:1]", "Expected `object`, got `array`"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "[1:1]", "nested too deeply"),
    ],
)
def test_a_document_that_is_none_is_told_where(document: bytes, place: str, cause: str) -> None:
    [found] = runs(b'{"index":{}}\n' + document + b"\n", LOGS, 0, last=True)[0]
    assert found.refusal is not None
    assert "document_parsing_exception" == found.refusal.kind
    assert found.refusal.reason.startswith(f"{place} failed to parse: ")
    assert cause in found.refusal.reason
    assert found.refusal.cause is not None


def test_what_steers_a_cluster_is_passed_over() -> None:
    said = {
        "_type": "_doc",
        "routing": "a",
        "pipeline": "p",
        "dynamic_templates": {"a": "b"},
        "retry_on_conflict": 3,
        "require_alias": False,
        "version_type": "internal",
    }
    [found] = runs(line({"index": said}) + b"\n{}\n", LOGS, 0, last=True)[0]
    assert found.refusal is None
