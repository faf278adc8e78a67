"""Every source keeps the contract of sources: `files` in several formats, a frame, and the scripted one."""

# ruff: noqa: RUF012  what a contract is told stands in the class, and nobody changes it

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from headrace.core.clock import SystemClock
from headrace.ingest import files
from headrace.ingest.base import Source, SourceContext
from headrace.model import Position
from headrace.testing import EOF, ScriptedSource, SourceContract

ROWS: list[dict[str, Any]] = [{"n": n, "text": f"value {n}"} for n in range(40)]


class FilesContract(SourceContract):
    rows = ROWS
    kind = files
    options: dict[str, Any] = {}

    def content(self) -> bytes:
        raise NotImplementedError

    def source(self, folder: Path) -> Source:
        (folder / "input").write_bytes(self.content())
        return self.made(folder, "input")

    def empty(self, folder: Path) -> Source:
        (folder / "nothing").write_bytes(b"")
        return self.made(folder, "nothing")

    def made(self, folder: Path, name: str) -> Source:
        options = msgspec.convert({"paths": [name], **self.options}, files.Settings)
        return files.create(
            options, SourceContext("p", folder, SystemClock(), {}, batch_bytes=200, data_dir=folder)
        )


class TestNdjsonFiles(FilesContract):
    def content(self) -> bytes:
        return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


class TestCompressedCsvFiles(FilesContract):
    def content(self) -> bytes:
        return gzip.compress(pl.DataFrame(ROWS).write_csv().encode())


class TestJsonArrayFiles(FilesContract):
    def content(self) -> bytes:
        return json.dumps(ROWS).encode()


class TestPlainLines(FilesContract):
    rows = [{"message": row["text"]} for row in ROWS]
    options = {"format": "lines"}

    def content(self) -> bytes:
        return b"".join(f"{row['text']}\n".encode() for row in ROWS)


class TestParquetFiles(FilesContract):
    def source(self, folder: Path) -> Source:
        pl.DataFrame(ROWS).write_parquet(folder / "input.parquet", row_group_size=10)
        return self.made(folder, "input.parquet")

    def empty(self, folder: Path) -> Source:
        pl.DataFrame(ROWS).clear().write_parquet(folder / "nothing.parquet")
        return self.made(folder, "nothing.parquet")


class TestSeveralFiles(FilesContract):
    def source(self, folder: Path) -> Source:
        for part in range(4):
            lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS[part * 10 : part * 10 + 10])
            (folder / f"input-{part}").write_bytes(lines)
        return self.made(folder, "input-*")


class TestScriptedSource(SourceContract):
    rows = ROWS

    def source(self, folder: Path) -> Source:
        return ScriptedSource(ROWS[:10], ROWS[10:11], ROWS[11:], EOF)

    def empty(self, folder: Path) -> Source:
        return ScriptedSource(EOF)


class Forgetful(ScriptedSource):
    """Resumes one record too late, as an off-by-one in a position would."""

    async def open(self, resume_after: Any) -> None:
        await super().open({name: Position(at.record + 1) for name, at in resume_after.items()})


class Repeating(ScriptedSource):
    """Forgets where to resume."""

    async def open(self, resume_after: Any) -> None:
        await super().open({})


@pytest.mark.parametrize("broken", [Forgetful, Repeating])
def test_the_contract_finds_a_source_that_loses_or_repeats(tmp_path: Path, broken: Any) -> None:
    class Broken(SourceContract):
        rows = ROWS[:3]

        def source(self, folder: Path) -> Source:
            made: Source = broken(ROWS[:1], ROWS[1:2], ROWS[2:3], EOF)
            return made

    Broken().test_every_record_comes_once_and_in_order(tmp_path)
    with pytest.raises(AssertionError):
        Broken().test_restarted_after_each_batch_nothing_is_lost_or_repeated(tmp_path)
