"""rename: fields change their names; nothing is ever overwritten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.transform import rename

from .frames import assert_lawful, context, frame_of, kept


def test_names_change_and_order_stays() -> None:
    transform = rename.create({"a": "x"}, context())
    frame = frame_of(a=[1], b=[2])
    assert list(transform.bind(frame.schema)) == ["_record", "x", "b"]
    assert transform.apply(frame).frame.columns == ["_record", "x", "b"]


def test_two_fields_can_change_places() -> None:
    transform = rename.create({"a": "b", "b": "a"}, context())
    frame = frame_of(a=[1], b=[2])
    transform.bind(frame.schema)
    assert transform.apply(frame).frame.row(0, named=True) == {"_record": 0, "b": 1, "a": 2}


def test_a_field_that_appears_later_and_is_in_the_way_rejects_its_records_only() -> None:
    transform = rename.create({"a": "x"}, context())
    transform.bind(frame_of(a=[1]).schema)
    outcome = transform.apply(frame_of(a=[1, 2], x=[None, "there"]))
    assert outcome.frame.rows() == [(0, 1)]
    assert [(r.record, r.reason, r.detail) for r in outcome.rejections] == [
        (1, "field_exists", "a cannot be renamed to x: the record has a field of that name")
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"aa": "x"}, "unknown field 'aa', did you mean 'a'"),
        ({"a": "b"}, "'a' cannot be renamed to 'b': there is a field of that name; drop it first"),
        ({"a": "x", "b": "x"}, "two fields would be renamed to 'x'"),
        ({"a": "_id"}, "the field name '_id' belongs to headrace"),
        ({"_record": "x"}, "the field name '_record' belongs to headrace"),
    ],
)
def test_wrong_names_are_refused(names: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rename.create(names, context()).bind(frame_of(a=[1], b=[2]).schema)
    assert message in str(caught.value)


@given(st.lists(st.none() | st.integers(), max_size=6), st.lists(st.integers(0, 6), max_size=3))
def test_any_split_gives_the_same(values: list[int | None], cuts: list[int]) -> None:
    transform = rename.create({"a": "x"}, context())
    transform.bind(frame_of(a=[1]).schema)
    frame = frame_of(a=list(range(len(values))), x=[v if v is None else str(v) for v in values])
    assert_lawful(transform, frame, cuts)
    assert kept(transform.apply(frame)) == [n for n, v in enumerate(values) if v is None]
