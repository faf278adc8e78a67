"""A pattern means what it would mean as a regular expression, without that one's cost."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.core.glob import any_matches, covers, matches

PATTERNS = st.text("ab*.", max_size=8)
TEXTS = st.text("ab.\n", max_size=10)


def as_regular_expression(pattern: str, text: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, text, re.DOTALL) is not None


@given(PATTERNS, TEXTS)
def test_a_pattern_means_what_it_means_as_a_regular_expression(pattern: str, text: str) -> None:
    assert as_regular_expression(pattern, text) == matches(pattern, text)


@given(st.lists(PATTERNS, max_size=3), TEXTS)
def test_one_of_several_is_enough(patterns: list[str], text: str) -> None:
    assert any(matches(each, text) for each in patterns) == any_matches(patterns, text)


@given(PATTERNS, PATTERNS, TEXTS)
def test_what_covers_a_pattern_stands_for_all_of_its_texts(wide: str, narrow: str, text: str) -> None:
    if covers(wide, narrow) and matches(narrow, text):
        assert matches(wide, text)


@given(PATTERNS, PATTERNS)
def test_what_does_not_cover_a_pattern_misses_one_of_its_texts(wide: str, narrow: str) -> None:
    """The text that has a stranger in the place of each star is one of them."""
    assert matches(wide, narrow.replace("*", "x")) == covers(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "a*", True),
        ("a*", "a*", True),
        ("a*", "ab-*", True),
        ("ab*", "a*", False),
        ("a", "a*", False),
        ("a*b", "a*", False),
        ("a*", "*", False),
        ("a*", "a", True),
    ],
)
def test_a_wider_pattern_covers_a_narrower_one(wide: str, narrow: str, covered: bool) -> None:
    assert covered == covers(wide, narrow)


@pytest.mark.parametrize("part", ["", "a", "ab"])
def test_each_part_is_looked_for_once(part: str) -> None:
    """Whatever the text: a pattern that tries every place at every star would never end here."""
    pattern, text = f"*{part}" * 1_000 + "*c", "ab" * 50_000
    steps = 0

    def count(_frame: Any, event: str, _what: Any) -> None:
        nonlocal steps
        steps += event == "c_call"

    sys.setprofile(count)
    try:
        assert not matches(pattern, text + "d")
        assert matches(pattern, text + "c")
    finally:
        sys.setprofile(None)
    assert steps < 2 * 1_000 + 50


def test_no_client_s_pattern_becomes_a_regular_expression() -> None:
    """What answers requests compares patterns here alone."""
    package = Path(headrace.__file__).parent
    modules = [path for room in ("index", "serve") for path in (package / room).rglob("*.py")]
    assert [] == [
        path for path in modules if "fnmatch" in (text := path.read_text("utf-8")) or '".*".join' in text
    ]
