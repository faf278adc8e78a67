"""Every transform keeps the contract of transforms."""

# ruff: noqa: RUF012  what a contract is told stands in the class, and nobody changes it

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from headrace.fields import parse_field
from headrace.model import RECORD
from headrace.testing import TransformContract
from headrace.transform import drop, keep, lookup, python, rename, validate, where
from headrace.transform import set as set_
from headrace.transform.base import Outcome
from headrace.units import decode

FRAME = pl.DataFrame(
    {
        "n": [1, 5, None, -3, 10, 7],
        "word": ["mill", "wheel", "", None, "gate", "mill"],
        "amount": ["1.5", "x", "3", None, "inf", "2"],
    }
)


def options(kind: Any, given: Any) -> Any:
    return msgspec.convert(given, kind.Settings, dec_hook=decode)


class TestWhere(TransformContract):
    kind, options, frame = where, "n > 2 or word = 'mill'", FRAME


class TestSet(TransformContract):
    """Casts that fail reject their records."""

    kind, frame = set_, FRAME
    options = {"value": "cast(amount as double)", "twice": "n * 2"}


class TestDrop(TransformContract):
    kind, options, frame = drop, ["amount"], FRAME


class TestKeep(TransformContract):
    kind, options, frame = keep, ["word", "n"], FRAME


class TestRename(TransformContract):
    kind, options, frame = rename, {"n": "number", "word": "n"}, FRAME


class TestValidate(TransformContract):
    kind, frame = validate, FRAME
    options = options(validate, {"n": {"min": 0, "required": True}, "word": {"max_length": 4}})
    fields = {"n": parse_field("integer")}


class TestLookup(TransformContract):
    """A missing key rejects the record."""

    kind, frame = lookup, FRAME
    options = options(
        lookup, {"table": "words.csv", "key": "word", "add": {"meaning": "text"}, "on_miss": "reject"}
    )

    def prepare(self, folder: Path) -> None:
        (folder / "words.csv").write_text("word,text\nmill,a building\nwheel,a disc\n")


class TestPython(TransformContract):
    """A function that fails on one record and leaves another out."""

    kind, frame = python, FRAME
    options = options(python, {"function": "./mine.py:change"})

    def prepare(self, folder: Path) -> None:
        (folder / "mine.py").write_text(
            "import polars as pl\n"
            "def change(frame):\n"
            "    if (frame['word'] == 'gate').any():\n"
            "        raise ValueError('no gates here')\n"
            "    return frame.filter(pl.col('n').fill_null(1) > 0).with_columns(more=pl.col('n') + 1)\n"
        )


class _Neighbourly:
    """Looks at the row before: another split gives another result."""

    Settings, examples = str, ()

    @staticmethod
    def create(given: str, context: Any) -> Any:
        return _Neighbourly()

    def bind(self, schema: pl.Schema) -> pl.Schema:
        return pl.Schema({**schema, "before": pl.Int64()})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        return Outcome(frame.with_columns(before=pl.col(RECORD).shift(1)))

    def close(self) -> None: ...


def test_the_contract_finds_a_transform_that_looks_at_neighbours(tmp_path: Path) -> None:
    class Broken(TransformContract):
        kind, options, frame = _Neighbourly, "", FRAME

    Broken().test_every_row_is_kept_rejected_or_dropped_once(tmp_path)
    for law in ("test_any_split_gives_the_same", "test_a_record_does_not_see_its_neighbours"):
        with pytest.raises(AssertionError):
            getattr(Broken(), law)(tmp_path)
