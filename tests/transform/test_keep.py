"""keep: which fields go on; the record's number always does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.transform import keep

from .frames import assert_lawful, context, frame_of

EXPECTED = {"drop": ["_record", "c"], "keep": ["_record", "b", "a"]}["keep"]


def test_the_named_fields_are_those_meant() -> None:
    frame = frame_of(a=[1], b=[2], c=[3])
    transform = keep.create(["b", "a"], context())
    assert list(transform.bind(frame.schema)) == EXPECTED
    assert transform.apply(frame).frame.columns == EXPECTED


@pytest.mark.parametrize(
    ("name", "message"),
    [("orign", "unknown field 'orign', did you mean 'origin'"), ("_record", "belongs to headrace")],
)
def test_a_name_that_cannot_be_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        keep.create([name], context()).bind(frame_of(origin=["JFK"]).schema)
    assert message in str(caught.value)


@given(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=3))
def test_any_split_gives_the_same(height: int, cuts: list[int]) -> None:
    frame = frame_of(a=list(range(height)), b=list(range(height)), c=list(range(height)))
    transform = keep.create(["a", "b"], context())
    transform.bind(frame.schema)
    assert_lawful(transform, frame, cuts)
