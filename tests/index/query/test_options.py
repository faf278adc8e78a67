"""Options of queries: `minimum_should_match` against Elasticsearch's own arithmetic, and fuzziness."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.query.options import edit_distance, fuzziness, minimum
from headrace.index.query.parse import parse_query

CLAUSES = st.integers(0, 30)


def _simple(clauses: int, amount: int, percent: bool) -> int:
    """A share or a number; a negative one is what may be missing, shares rounded towards zero."""
    share = math.trunc(clauses * amount / 100) if percent else amount
    return max(clauses + share if amount < 0 else share, 0)


@given(CLAUSES, st.integers(-40, 40), st.booleans())
def test_one_number_or_share(clauses: int, amount: int, percent: bool) -> None:
    """2, -1, 75%, -25%."""
    assert _simple(clauses, amount, percent) == minimum(f"{amount}{'%' * percent}", clauses, default=0)


@given(
    CLAUSES,
    st.lists(st.tuples(st.integers(1, 20), st.integers(-9, 9), st.booleans()), min_size=1, max_size=3),
)
def test_conditions(clauses: int, conditions: list[tuple[int, int, bool]]) -> None:
    """`3<90% 9<-2`: up to the first bound all; then what the last bound passed says."""
    conditions = sorted(conditions)
    expected = clauses
    for bound, amount, percent in conditions:
        if clauses <= bound:
            break
        expected = _simple(clauses, amount, percent)
    text = " ".join(f"{bound} < {amount}{'%' * percent}" for bound, amount, percent in conditions)
    assert expected == minimum(text, clauses, default=0)


@pytest.mark.parametrize("given", ["", "most", "2<", "<2", "1.5", "2<3<4", "%"])
def test_what_is_no_minimum_is_refused(given: str) -> None:
    """The message shows the forms there are."""
    with pytest.raises(RequestError, match=r"2<75%"):
        minimum(given, 5, default=1)


def test_auto_fuzziness_has_bounds() -> None:
    """AUTO is AUTO:3,6; its lengths are where one and two edits begin."""
    assert [0, 1, 2] == [edit_distance(fuzziness("auto"), word) for word in ("ab", "abc", "abcdef")]
    assert [0, 1, 2] == [edit_distance(fuzziness("AUTO:4,5"), word) for word in ("abc", "abcd", "abcde")]


@given(st.text(alphabet=' ab"()+-|*~\\2é', max_size=40), st.sampled_from(["and", "or"]))
def test_no_simple_query_string_is_an_error(text: str, operator: str) -> None:
    """Whatever is typed into a search box has an answer."""
    body = {"query": text, "fields": ["a^2", "b"], "default_operator": operator}
    assert parse_query({"simple_query_string": body}) is not None


def test_a_minimum_is_read_once_from_end_to_end() -> None:
    """However much space is in it: what looks for a sign after each space looks for ever."""
    assert 1 == minimum("2 <" + " " * 200_000 + "50%", 3, default=0)
    with pytest.raises(RequestError):
        minimum("1" + " " * 200_000 + "1", 3, default=0)
