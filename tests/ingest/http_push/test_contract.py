"""`http_push` keeps the contract of sources, in each format a body may have."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import polars as pl

from headrace.buffer.base import BULK, Entry
from headrace.ingest import http_push
from headrace.ingest.base import Source
from headrace.testing import SourceContract
from ingest.http_push.pushing import make, push

ROWS: list[dict[str, Any]] = [{"n": n, "text": f"value {n}"} for n in range(40)]
PARTS = [ROWS[:1], ROWS[1:3], ROWS[3:20], ROWS[20:21], ROWS[21:]]


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def arrow(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(out)
    return out.getvalue()


class PushContract(SourceContract):
    rows = ROWS
    kind = http_push
    name = ""

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        raise NotImplementedError

    def source(self, folder: Path) -> Source:
        if not (folder / "buffer").exists():
            entries = [Entry("p", len(part), self.name, self.body(part)) for part in PARTS]
            # The contract asks for a source within its event loop too: the pushes have one of their own.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(anyio.run, push, folder, *entries).result()
        return make(folder, batch_bytes=200)

    def empty(self, folder: Path) -> Source:
        return make(folder / "nothing")


class TestBulk(PushContract):
    name = BULK

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return ndjson(rows)


class TestNdjson(PushContract):
    name = "ndjson"

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return ndjson(rows)


class TestJsonArray(PushContract):
    name = "json"

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return json.dumps(rows, indent=1).encode()


class TestCsv(PushContract):
    name = "csv"

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return pl.DataFrame(rows).write_csv().encode()


class TestArrow(PushContract):
    name = "arrow"

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return arrow(rows)
