"""What every transform promises, as tests to inherit: row-wise, in order, every row in exactly one place."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from headrace.core.clock import SystemClock
from headrace.fields import Field
from headrace.model import RECORD
from headrace.testing.options import refused
from headrace.transform.base import Outcome, Transform, TransformContext


class TransformContract:
    """Inherit, and say what is transformed and how::

        class TestMine(TransformContract):
            kind, options = mine, mine.Settings(field="n")
            frame = pl.DataFrame({"n": [1, None, 3]})

    `frame` should have rows that are kept, rejected and dropped, as far as the kind does that. `prepare`
    makes the files that the options name.
    """

    kind: Any
    options: Any
    frame: pl.DataFrame
    fields: Mapping[str, Field] = {}

    def prepare(self, folder: Path) -> None:
        """Nothing to prepare, unless a kind says otherwise."""

    def transform(self, folder: Path) -> Transform:
        """The transform, bound to the frame's schema."""
        return self._bound(folder)[0]

    def _bound(self, folder: Path) -> tuple[Transform, pl.Schema]:
        self.prepare(folder)
        context = TransformContext("contract", folder, SystemClock(), self.fields)
        made: Transform = self.kind.create(self.options, context)
        return made, made.bind(self._numbered().schema)

    def _numbered(self) -> pl.DataFrame:
        return self.frame.with_row_index(RECORD, offset=100).cast({RECORD: pl.Int64})

    def test_every_row_is_kept_rejected_or_dropped_once(self, tmp_path: Path) -> None:
        frame = self._numbered()
        outcome = self.transform(tmp_path).apply(frame)
        kept = outcome.frame[RECORD].to_list()
        gone = [rejection.record for rejection in outcome.rejections]
        assert len({*kept, *gone}) == len(kept) + len(gone), "a record is in two places"
        assert {*kept, *gone} <= set(frame[RECORD]), "a record came out that never went in"
        assert frame.height == len(kept) + len(gone) + outcome.dropped

    def test_order_and_record_numbers_are_kept(self, tmp_path: Path) -> None:
        frame = self._numbered()
        kept = self.transform(tmp_path).apply(frame).frame
        assert pl.Int64 == kept.schema[RECORD]
        assert kept[RECORD].is_sorted()

    def test_any_split_gives_the_same(self, tmp_path: Path) -> None:
        frame, transform = self._numbered(), self.transform(tmp_path)
        whole = transform.apply(frame)
        single = list(range(frame.height + 1))
        for cuts in ([0, at, frame.height] for at in single):
            _assert_same(whole, [transform.apply(frame[a:b]) for a, b in pairwise(cuts)])
        _assert_same(whole, [transform.apply(frame[a:b]) for a, b in pairwise(single)])

    def test_a_record_does_not_see_its_neighbours(self, tmp_path: Path) -> None:
        """The other way round it comes out the other way round."""
        frame, transform = self._numbered(), self.transform(tmp_path)
        there, back = transform.apply(frame), transform.apply(frame.reverse())
        assert there.frame.equals(back.frame.reverse())
        assert _refused(there) == _refused(back)
        assert there.dropped == back.dropped

    def test_what_comes_out_has_the_columns_that_were_announced(self, tmp_path: Path) -> None:
        transform, schema = self._bound(tmp_path)
        outcome = transform.apply(self._numbered())
        assert set(schema.names()) == set(outcome.frame.columns)

    def test_the_frame_that_went_in_is_left_alone(self, tmp_path: Path) -> None:
        frame = self._numbered()
        before = frame.clone()
        self.transform(tmp_path).apply(frame)
        assert before.equals(frame)
        assert before.schema == frame.schema

    def test_nothing_in_nothing_out(self, tmp_path: Path) -> None:
        outcome = self.transform(tmp_path).apply(self._numbered().clear())
        assert (outcome.frame.height, len(outcome.rejections), outcome.dropped) == (0, 0, 0)

    def test_closing_is_safe_twice(self, tmp_path: Path) -> None:
        transform = self.transform(tmp_path)
        transform.close()
        transform.close()

    def test_unknown_options_are_refused(self) -> None:
        assert refused(self.kind)


def _assert_same(whole: Outcome, parts: list[Outcome]) -> None:
    joined = pl.concat([part.frame for part in parts], how="vertical")
    assert whole.frame.equals(joined), "another split gives other rows"
    assert _refused(whole) == sorted(found for part in parts for found in _refused(part))
    assert whole.dropped == sum(part.dropped for part in parts)


def _refused(outcome: Outcome) -> list[tuple[int, str, str]]:
    return sorted((found.record, found.reason, found.detail) for found in outcome.rejections)
