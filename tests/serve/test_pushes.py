"""`POST /ingest/{pipeline}`: plain bodies into the log of a pipeline."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from headrace.ingest.http_push.options import Settings
from headrace.serve import tokens
from headrace.serve.bodies import Limits
from headrace.serve.names import Target
from intake import Service, service

TARGET = Target("things", "u1", "flights", "flights")
FRAME = pl.DataFrame({"n": [1, 2, 3]})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Service]:
    with started(tmp_path) as found:
        yield found


def started(directory: Path, limits: Limits | None = None) -> AbstractContextManager[Service]:
    formats = {"flights": Settings().format}
    return service(
        directory,
        TARGET,
        limits=limits or Limits(),
        pipelines={"flights": TARGET},
        formats=formats,
        others={"daily": "files"},
    )


def arrow(*, stream: bool) -> bytes:
    file = io.BytesIO()
    (FRAME.write_ipc_stream if stream else FRAME.write_ipc)(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "body", "stored_as"),
    [
        ("application/x-ndjson", b'{"n":1}\n{"n":2}\n{"n":3}\n', "ndjson"),
        ("application/x-ndjson", b'{"n":1}\n{"n":2}\n{"n":3}', "ndjson"),
        ("application/json; charset=utf-8", b'[{"n":1},{"n":2},\n{"n":3}]', "json"),
        ("text/csv", b"n\n1\n2\n3\n", "csv"),
        ("application/vnd.apache.arrow.stream", arrow(stream=True), "arrow"),
        ("application/vnd.apache.arrow.file", arrow(stream=False), "arrow"),
    ],
)
def test_each_format_is_stored_as_it_came(served: Service, kind: str, body: bytes, stored_as: str) -> None:
    for first in (0, 3):
        answer = served.client.post("/ingest/flights", content=body, headers={"Content-Type": kind})
        assert 200 == answer.status_code, answer.text
        token = answer.headers["Headrace-Token"]
        assert {
            "accepted": 3, "pipeline": "flights", "log": "flights", "first": first, "end": first + 3, "token": token,
        } == answer.json()  # fmt: skip
        assert [first + 3] == [one.record for one in tokens.decode(token)]
    [stored, _] = served.entries("flights")
    assert (stored_as, body) == (stored.entry.kind, stored.entry.body)


def test_compressed_bodies_are_stored_undone(served: Service) -> None:
    body = b'{"n":1}\n'
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    assert (
        1
        == served.client.post("/ingest/flights", content=gzip.compress(body), headers=headers).json()[
            "accepted"
        ]
    )
    assert body == served.entries("flights")[0].entry.body


@pytest.mark.parametrize(
    ("path", "kind", "body", "status", "reason"),
    [
        ("/ingest/flihgts", "text/csv", b"n\n1\n", 404, "no such pipeline [flihgts], did you mean 'flights'"),
        ("/ingest/daily", "text/csv", b"n\n1\n", 400, "takes no pushes: its source is files, not http_push"),
        ("/ingest/flights", "text/plain", b"n\n1\n", 415, "text/csv"),
        ("/ingest/flights", "", b"n\n1\n", 415, "application/x-ndjson"),
        ("/ingest/flights", "application/json", b"[1", 400, "nothing was accepted"),
        ("/ingest/flights", "application/x-ndjson", b"n\n1\n", 400, "nothing was accepted"),
        ("/ingest/flights", "application/vnd.apache.arrow.stream", b"n\n1\n", 400, "nothing was accepted"),
        ("/ingest/flights?acks=1", "text/csv", b"n\n1\n", 400, "did you mean 'ack'"),
    ],
)
def test_what_is_wrong_is_told(
    served: Service, path: str, kind: str, body: bytes, status: int, reason: str
) -> None:
    answer = served.client.post(path, content=body, headers={"Content-Type": kind})
    assert status == answer.status_code
    assert reason in answer.json()["error"]["reason"]
    assert [] == served.entries("flights")


def test_an_empty_body_is_no_record(served: Service) -> None:
    answer = served.client.post(
        "/ingest/flights", content=b"\n", headers={"Content-Type": "application/x-ndjson"}
    )
    assert (200, 0, None) == (answer.status_code, answer.json()["accepted"], answer.json()["token"])


def test_an_answer_may_wait_until_its_records_can_be_searched(served: Service) -> None:
    headers = {"Content-Type": "text/csv", "Headrace-Ack": "indexed"}
    headers["Idempotency-Key"] = "k"
    for _ in range(2):  # an answer from memory waits as well
        served.client.post("/ingest/flights?timeout=2s", content=b"n\n1\n2\n", headers=headers)
    assert [("flights", 2, "visible", False, 2.0)] * 2 == served.model.waits
    assert 1 == len(served.entries("flights"))


def test_a_large_body_is_cut_at_line_ends(tmp_path: Path) -> None:
    with started(tmp_path, limits=Limits(piece=100)) as served:
        body = b"".join(b'{"n":%d}\n' % n for n in range(100))
        answer = served.client.post(
            "/ingest/flights", content=body, headers={"Content-Type": "application/x-ndjson"}
        )
        assert (100, 0, 100) == tuple(answer.json()[name] for name in ("accepted", "first", "end"))
        stored = served.entries("flights")
        assert body == b"".join(one.entry.body for one in stored)
        assert all(len(one.entry.body) <= 100 for one in stored)
        assert len(stored) > 5


def test_a_bad_piece_leaves_nothing_of_a_large_body(tmp_path: Path) -> None:
    with started(tmp_path, limits=Limits(piece=100)) as served:
        body = b'{"n":1}\n' * 100 + b"no json\n" * 100
        answer = served.client.post(
            "/ingest/flights", content=body, headers={"Content-Type": "application/x-ndjson"}
        )
        assert 400 == answer.status_code
        assert [] == served.entries("flights")


def test_what_cannot_be_cut_has_a_smaller_bound(tmp_path: Path) -> None:
    with started(tmp_path, limits=Limits(whole=100)) as served:
        answer = served.client.post(
            "/ingest/flights", content=b"n\n" + b"1\n" * 100, headers={"Content-Type": "text/csv"}
        )
        assert 413 == answer.status_code


def test_a_repeated_push_with_a_key_is_stored_once(served: Service) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "k"}
    answers = [
        served.client.post("/ingest/flights", content=b"n\n1\n", headers=headers).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert 1 == len(served.entries("flights"))
