"""What the door counts is what the decoder finds, and what is no such format is refused whole."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Literal

import msgspec
import polars as pl
import pytest

from headrace.core.errors import ConfigError, RequestError
from headrace.ingest import http_push
from headrace.ingest.http_push import admit

OPTIONS = http_push.Settings().format


def arrow(
    compression: Literal["uncompressed", "lz4", "zstd"] = "uncompressed", *, file: bool = False
) -> bytes:
    texts = ["x" * n for n in range(50)]
    frame = pl.DataFrame({"a": range(50), "b": texts, "c": [[1] * (n % 3) for n in range(50)]})
    out = io.BytesIO()
    if file:
        frame.write_ipc(out, compression=compression)
    else:
        frame.write_ipc_stream(out, compression=compression)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("ndjson", b'{"a": 1}\n\n{"a": 2}', 3),
        ("ndjson", b'\xef\xbb\xbf{"a": 1}\r\n', 1),
        ("ndjson", b'nonsense\n{"a": 1}', 2),
        ("ndjson", b" \n", 0),
        ("json", b'[{"a": 1}, {"a":\n2}]', 2),
        ("json", b'{"a": 1} {"a": 2}', 2),
        ("json", b"[]", 0),
        ("json", b"", 0),
        ("csv", b"a,b\n1,2\n\n3,4", 3),
        ("csv", b'a,b\n"x\ny",2\n', 1),
        ("csv", b"a,b\n", 0),
        ("csv", b"", 0),
        ("arrow", b"", 0),
        ("arrow", arrow(), 50),
        ("arrow", arrow(file=True), 50),
    ],
)
def test_numbers_are_counted(kind: str, body: bytes, expected: int) -> None:
    assert expected == admit.count(kind, body, OPTIONS)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("ndjson", b"<html>\n</html>", ["no line of it is a JSON object", "line 1", "'<html>'"]),
        ("ndjson", b'\n[{"a": 1}]', ["line 2", "array"]),
        ("ndjson", b'{"a": \xff}', ["line 1"]),
        ("json", b'[{"a": 1}', ["ends in the middle of a JSON array"]),
        ("json", b'[{"a": 1}] x', ["after the end"]),
        ("json", b"[1, 2]", ["no element of it is a JSON object"]),
        ("csv", b"a,a\n1,2", ["column 'a' is there twice"]),
        ("csv", b"_id,a\n1,2", ["column '_id' is reserved"]),
        ("arrow", b"nonsense", ["no Arrow IPC"]),
        ("arrow", arrow()[:-100], ["no Arrow IPC"]),
        ("arrow", arrow("zstd"), ["compressed", "compress the request instead"]),
        ("arrow", arrow("lz4", file=True), ["compressed"]),
        ("avro", b"", ["cannot read format 'avro'", "ndjson"]),
    ],
)
def test_a_body_that_is_no_such_format_is_refused_with_its_reason(
    kind: str, body: bytes, words: list[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        admit.count(kind, body, OPTIONS)
    assert 400 == caught.value.status
    for word in words:
        assert word in caught.value.reason


def test_a_reserved_column_of_arrow_is_refused() -> None:
    out = io.BytesIO()
    pl.DataFrame({"_seq": [1]}).write_ipc_stream(out)
    with pytest.raises(RequestError, match="'_seq' is reserved"):
        admit.count("arrow", out.getvalue(), OPTIONS)


def test_declared_columns_make_the_first_line_a_record() -> None:
    options = http_push.Settings(columns=("a", "b")).format
    assert 2 == admit.count("csv", b"a,b\n1,2\n", options)


def test_no_header_needs_columns() -> None:
    with pytest.raises((ConfigError, msgspec.ValidationError), match="columns"):
        http_push.Settings(header=False)


FUZZ = """
import random, sys
from headrace.core.errors import RequestError
from headrace.ingest.http_push import admit, Settings
bodies, dice = [bytes.fromhex(line) for line in sys.stdin], random.Random(3)
for _ in range(1500):
    body = bytearray(dice.choice(bodies))
    for _ in range(dice.randint(1, 4)):
        body[dice.randrange(len(body))] = dice.choice([dice.randrange(256), 255, 0, 1])
    try:
        admit.count("arrow", bytes(body), Settings().format)
    except RequestError:
        pass
print("alive")
"""


def test_damaged_arrow_ends_no_process() -> None:
    """A length that is believed would be reserved at once, and the allocator ends the process."""
    bodies = "\n".join(body.hex() for body in [arrow(), arrow(file=True), arrow("zstd"), arrow("lz4")])
    done = subprocess.run(
        [sys.executable, "-c", FUZZ], input=bodies, capture_output=True, text=True, check=False
    )
    assert ("alive\n", 0) == (done.stdout, done.returncode), done.stderr[-500:]


@pytest.mark.parametrize("size", [4, 20, 200, 700, 1500])
def test_arrow_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(RequestError, match="Arrow"):
        admit.count("arrow", arrow()[:size], OPTIONS)


def test_what_json_says_of_a_body_keeps_its_capitals() -> None:
    with pytest.raises(RequestError, match="line 1: JSON is malformed: invalid character"):
        admit.count("ndjson", b'{"a": nope}\n', OPTIONS)
