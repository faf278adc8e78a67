"""Fields guessed from a sample: what a text is searched by, and what numbers are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import headrace
from headrace.core.errors import RequestError
from headrace.fields import Field
from headrace.infer import infer_fields

PROSE = ["the quick brown fox jumps over it", "a lazy dog sleeps all day long there"]


def test_texts_of_words_are_text_and_whole_beside_it_and_names_are_keywords() -> None:
    frame = pl.DataFrame({"title": ["Red Shoes", "Hat"], "sku": ["a-1", "b 2"[:1]], "body": PROSE})
    assert infer_fields(frame) == {
        "title": Field("text"),
        "title.keyword": Field("keyword", of="title", ignore_above=256),
        "sku": Field("keyword"),
        "body": Field("text"),
    }


def test_lists_of_texts_are_guessed_as_their_values() -> None:
    frame = pl.DataFrame({"tags": [["big one", "x"], ["y"]], "codes": [["a"], ["b"]]})
    assert infer_fields(frame) == {
        "tags": Field("text", array=True),
        "tags.keyword": Field("keyword", array=True, of="tags", ignore_above=256),
        "codes": Field("keyword", array=True),
    }


def test_numbers_are_float_only_where_one_was_seen() -> None:
    frame = pl.DataFrame({"whole": [1, 2], "fraction": [1, 2.5]}, strict=False)
    assert infer_fields(frame) == {"whole": Field("integer"), "fraction": Field("float")}


def test_a_field_of_that_very_name_is_left_alone() -> None:
    frame = pl.DataFrame({"title": ["Red Shoes"], "title.keyword": [1]})
    assert infer_fields(frame) == {"title": Field("text"), "title.keyword": Field("integer")}


@pytest.mark.parametrize("lines", ["error one\nerror two\n", "error\nwarning\n"])
def test_lines_of_a_log_are_found_by_their_words(tmp_path: Path, lines: str) -> None:
    """Also where the sample has lines of one word, and others come later."""
    log, folder = tmp_path / "s.log", tmp_path / "so"
    log.write_text(lines)
    headrace.index(log, into=folder)
    (tmp_path / "t.log").write_text("an error of three\n")
    headrace.index(tmp_path / "t.log", into=folder)
    index = headrace.open(folder)
    assert index.search("error").total == lines.count("error") + 1
    assert index.search("message:three").total == 1


def test_a_title_is_found_by_a_word_and_counted_as_a_whole(tmp_path: Path) -> None:
    frame = pl.DataFrame({"title": ["Red Shoes", "Blue Shoes", "Red Shoes"]})
    index = headrace.index(frame, into=tmp_path)
    assert index.search("shoes").total == 3
    assert index.search('title.keyword:"Red Shoes"').total == 2
    answer = index.answer({"size": 0, "aggs": {"x": {"terms": {"field": "title.keyword"}}}})
    assert [bucket["key"] for bucket in answer["aggregations"]["x"]["buckets"]] == ["Red Shoes", "Blue Shoes"]
    with pytest.raises(RequestError, match=r"use \[title\.keyword\]"):
        index.search("*", sort="title")


def test_a_declared_text_has_only_what_was_declared(tmp_path: Path) -> None:
    frame = pl.DataFrame({"title": ["Red Shoes"]})
    index = headrace.index(frame, into=tmp_path, fields={"title": "keyword"})
    assert index.search('title:"Red Shoes"').total == 1
    assert index.search("title:shoes").total == 0
