"""Which words are marked, and that no query makes that slow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.index.base import SearchRequest
from headrace.index.query import patterns
from headrace.index.tantivy.marker import LARGEST, MOST_COMPARED, marker
from headrace.index.tantivy.words import edits
from index.tantivy.test_fields_of_elasticsearch import mapped

WORDS = st.text("abc", max_size=7)


def distance(one: str, other: str, *, swaps: bool) -> int:
    """The whole table, as in the books."""
    table = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            )
            if swaps and i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(one), len(other)]


@given(WORDS, WORDS, st.integers(0, 3), st.booleans())
def test_edits_are_those_of_the_books_as_far_as_they_count(
    one: str, other: str, most: int, swaps: bool
) -> None:
    assert min(distance(one, other, swaps=swaps), most + 1) == edits(one, other, most, swaps=swaps)


def test_long_words_are_compared_in_the_time_of_their_length() -> None:
    word = "abcdefghij" * 10_000
    assert 2 == edits(word, word[1:] + "x", 2)
    assert 3 == edits(word, word[::-1], 2)


@given(st.lists(WORDS, max_size=5), WORDS, WORDS, WORDS, st.text("ab*?", max_size=5))
def test_what_is_found_is_marked(words: list[str], exact: str, start: str, near: str, wildcard: str) -> None:
    made = marker([exact], [start], [(near, 1)], [patterns.wildcard(wildcard)])
    expression = re.escape(wildcard).replace(r"\*", ".*").replace(r"\?", ".")
    expected = {
        word
        for word in words
        if word == exact or word.startswith(start) or distance(word, near, swaps=True) <= 1
        or re.fullmatch(expression, word)
    }  # fmt: skip
    assert expected == set(made.among(words))


@pytest.mark.parametrize(
    ("regex", "marked"),
    [
        ("a.*c", ["abc"]),
        ("(a*)*b", ["aab", "b"]),
        ("(?i:ABC)", ["abc"]),
        ("a{2}b", ["aab"]),
        (patterns.between("b", None, include_lower=True, include_upper=True), ["b", "xabcx"]),
        ("(", []),
        ("(?=a)a", []),
        ("((a?){100}){99}b", []),
        ("a" * (LARGEST + 1), []),
        ("(a{1000}){1000}", []),
        ("a{99999999999999999999}", []),
    ],
)
def test_a_regular_expression_marks_what_it_matches_whole(regex: str, marked: list[str]) -> None:
    """What can be read by no engine, or would be large written out, marks nothing and spoils no other."""
    words = ["abc", "aab", "b", "xabcx"]
    assert marked == sorted(marker([], [], [], [regex]).among(words))
    assert sorted({"b", *marked}) == sorted(marker([], [], [], [regex, "b"]).among(words))


def test_so_many_of_a_kind_are_compared_and_no_more() -> None:
    several = [f"w{number}" for number in range(2 * MOST_COMPARED)]
    made = marker(several, several, [(word, 1) for word in several], several)
    assert MOST_COMPARED == len(made.close) == len(made.starts)
    assert set(several) == set(made.among(several))


EVIL = "a" * 30


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ({"regexp": {"t": "(a*)*b"}}, []),
        ({"regexp": {"t": "(a|aa)+"}}, [EVIL]),
        ({"regexp": {"t": "(a|a)*c|word"}}, ["word"]),
        ({"wildcard": {"t": "*a" * 12 + "*b"}}, []),
        ({"wildcard": {"t": "w?r*"}}, ["word"]),
        ({"prefix": {"t": "wo"}}, ["word"]),
        ({"fuzzy": {"t": "wrod"}}, ["word"]),
        ({"match": {"t": {"query": "wrd", "fuzziness": 1}}}, ["word"]),
        ({"query_string": {"query": "t:WOR* OR t:/(A*)*B/"}}, ["word"]),
        ({"regexp": {"k": "(a*)*b"}}, []),
        ({"match_phrase_prefix": {"t": "some wo"}}, ["some", "word"]),
    ],
)
def test_no_query_marks_for_longer_than_its_words_take(tmp_path: Path, query: Any, marked: list[str]) -> None:
    """Some of these held the interpreter for seconds for each text."""
    properties = {"t": {"type": "text", "analyzer": "whitespace"}, "k": {"type": "keyword"}}
    documents = [{"t": f"some {EVIL} word", "k": EVIL + "!"}]
    reader = mapped(tmp_path, properties, documents)
    both: Any = {"bool": {"must": {"match_all": {}}, "should": query}}
    highlight: Any = {"fields": {"t": {"number_of_fragments": 0}, "k": {}}}
    [hit] = reader.search(SearchRequest(query=both, highlight=highlight)).hits
    found = re.findall("<em>(.*?)</em>", "".join(hit.highlight.get("t", [])))
    assert marked == found
    assert "k" not in hit.highlight
