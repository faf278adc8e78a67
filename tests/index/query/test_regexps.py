"""How large a regular expression is, and that one that is too large is refused before it is compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.query.parse import parse_query
from headrace.index.query.query_string import parse_query_string
from headrace.index.query.regexps import LARGEST, WIDE, check_regexp, written_out


@pytest.mark.parametrize(
    ("regex", "size"),
    [
        ("", 0),
        ("abc", 3),
        ("a*b+c?|d", 4),
        ("a{3}", 3),
        ("a{2,5}b", 6),
        ("a{,4}", 4),
        ("a{2,}", 2),
        ("(ab){3}c", 7),
        ("((a?){100}){99}b", 9_901),
        ("(a{2}){3}{4}", 24),
        (r"\{3}", 3),
        (r"a\.b", 3),
        ("[0-9a-f]{8}-[0-9a-f]{4}", 13),
        ("[]a]{3}", 3),
        ("[^a]{2}", 2 * WIDE),
        (".{3}", 3 * WIDE),
        (r"\d{2}", 2 * WIDE),
        (r"\p{L}{2}", 2 * WIDE),
        (r"\x{61}{2}", 2 * WIDE),
        ("[é]", WIDE),
        ("(?i:ab){2}", 4),
        ("(?P<n>ab){2}", 4),
        (")(", 0),
        ("[a", 1),
        ("{2}", 0),
        ("\\", 1),
    ],
)
def test_a_size_is_what_is_left_when_nothing_is_repeated(regex: str, size: int) -> None:
    assert size == written_out(regex)


@given(st.text("ab.*+?|(){}[]^-\\,0123456789d:", max_size=40))
def test_any_text_has_a_size(text: str) -> None:
    assert 0 <= written_out(text)


@given(st.text("ab", min_size=1, max_size=5), st.integers(1, 9), st.integers(1, 9))
def test_repetitions_multiply(text: str, inner: int, outer: int) -> None:
    assert len(text) * inner * outer == written_out(f"((?:{text}){{{inner}}}){{{outer}}}")


LARGE = ["((a?){100}){99}b", "(.?){900}b", "a?" * 5_000 + "b", "a" * (LARGEST + 1), "a{999999999}{999999999}"]


@pytest.mark.parametrize("regex", LARGE)
def test_a_large_one_is_refused_wherever_it_stands(regex: str) -> None:
    """The engine took up to ten seconds to find each too large, or to take it."""
    for call in (
        lambda: check_regexp(regex),
        lambda: parse_query({"regexp": {"f": regex}}),
        lambda: parse_query_string(f"f:/{regex}/"),
    ):
        with pytest.raises(RequestError, match="with its repetitions written out, at most 1000; repeat less"):
            call()


@pytest.mark.parametrize(
    "regex", ["[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"\d{4}-\d{2}-\d{2}T.*", "a" * LARGEST]
)
def test_what_people_write_is_taken(regex: str) -> None:
    assert regex == check_regexp(regex)
