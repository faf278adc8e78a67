"""The query string language: what is read, and that nothing typed into a box can break the reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.query import patterns, tree
from headrace.index.query.parse import parse_query
from headrace.index.query.query_string import parse_query_string


def _status(call: Callable[[], object]) -> int:
    try:
        call()
    except RequestError as error:
        return error.status
    return 200


def _word(field: str, text: str) -> tree.Match:
    return tree.Match(field, text, conjunction=True, loose=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", _word("*", "a")),
        ("f:a", _word("f", "a")),
        ("f:-1", _word("f", "-1")),
        ("t:10:30", _word("t", "10:30")),
        (r"f:a\ b", _word("f", "a b")),
        (r"a\:b:c", _word("a:b", "c")),
        ("a b", tree.Bool(should=(_word("*", "a"), _word("*", "b")))),
        ("a AND b", tree.Bool(must=(_word("*", "a"), _word("*", "b")))),
        ("a && !b", tree.Bool(must=(_word("*", "a"),), must_not=(_word("*", "b"),))),
        ("f:(a b)", tree.Bool(should=(_word("f", "a"), _word("f", "b")))),
        ("f:a^2", tree.Boost(_word("f", "a"), 2.0)),
        ('"a b"~3', tree.Phrase("*", "a b", 3, loose=True)),
        ("n:>=5", tree.Range("n", "5", None, include_lower=True, loose=True)),
        ("n:<-5", tree.Range("n", None, "-5", include_upper=False, loose=True)),
        ("n:[1 TO 5}", tree.Range("n", "1", "5", include_upper=False, loose=True)),
        ("_exists_:f", tree.Exists("f")),
        ("f:*", tree.Exists("f")),
        ("*", tree.All()),
        ("*:*", tree.All()),
        ("f:a~1", tree.Match("f", "a", fuzziness=1, loose=True)),
    ],
)
def test_query_strings_mean(text: str, expected: object) -> None:
    assert expected == parse_query_string(text)


def test_and_binds_closer_than_or() -> None:
    either = tree.Bool(should=(_word("*", "a"), tree.Bool(must=(_word("*", "b"), _word("*", "c")))))
    assert either == parse_query_string("a OR b AND c")


@given(st.text(alphabet='ab:*?~^"()[]{}+-!&|\\/<>= .TOANDR\n', max_size=40))
def test_any_text_is_a_query_or_a_request_error(text: str) -> None:
    assert _status(lambda: parse_query_string(text)) in (200, 400)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["bool", "must", "match", "range", "terms", "query", "gte", "query_string", "f"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_a_query_or_a_request_error(query: object) -> None:
    assert _status(lambda: parse_query(query)) in (200, 400)


def test_nesting_is_bounded() -> None:
    query: object = {"match_all": {}}
    for _ in range(100):
        query = {"bool": {"must": query}}
    with pytest.raises(RequestError, match="deeper than 40"):
        parse_query(query)
    with pytest.raises(RequestError, match="deeper than 40"):
        parse_query_string("(" * 100 + "a" + ")" * 100)


TEXTS = st.text(alphabet="abz.*\\[é\U0001f600", max_size=4)


@given(TEXTS, TEXTS, TEXTS, st.booleans(), st.booleans())
def test_a_range_of_texts_as_a_pattern_is_the_range(
    text: str, lower: str, upper: str, with_lower: bool, with_upper: bool
) -> None:
    """Tried with Python's own engine, where `\\x{41}` is spelled as the character itself."""
    import re

    regex = patterns.between(lower, upper, include_lower=with_lower, include_upper=with_upper)
    above = text >= lower if with_lower else text > lower
    below = text <= upper if with_upper else text < upper
    python = regex and re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", regex)
    assert (above and below) == (python is not None and re.fullmatch(python, text) is not None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('f:["' + "\\" * 61, 400),
        ('f:["x' + " " * 200_000 + 'x" TO b]', 200),
        ("f:[x" + " " * 200_000 + "x]", 400),
        ("[" * 2_000, 400),
    ],
)
def test_what_looks_like_a_range_is_read_once(text: str, status: int) -> None:
    """Each of these was once tried in more ways than there is time for."""
    assert status == _status(lambda: parse_query_string(text))


@pytest.mark.parametrize("text", ['f:["a TO b" TO "c"]', r'f:["a \" TO b" TO "c"]'])
def test_the_bounds_of_a_range_may_hold_its_own_word(text: str) -> None:
    found = parse_query_string(text)
    assert isinstance(found, tree.Range)
    assert (True, "c") == (str(found.lower).endswith("TO b"), found.upper)
