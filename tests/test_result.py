"""A search's result as Python sees it."""

from __future__ import annotations

import polars as pl

from headrace.index.base import Hit, SearchResult
from headrace.result import Result

FOUND = SearchResult(
    3,
    (
        Hit("a", 0, b'{"n":1,"geo":{"lat":1.5},"tags":["x"],"mixed":1}', 2.0),
        Hit("b", 1, b'{"n":2.5,"mixed":"two","tags":["y","z"]}', 1.0),
    ),
    2.0,
    {"m": {"value": 1.0}},
)


def test_hits_become_a_frame_with_nested_fields_as_dotted_columns() -> None:
    expected = pl.DataFrame(
        {
            "_id": ["a", "b"],
            "_score": [2.0, 1.0],
            "n": [1.0, 2.5],
            "geo.lat": [1.5, None],
            "tags": [["x"], ["y", "z"]],
            "mixed": ["1", "two"],
        }
    )
    assert expected.equals(Result.of(FOUND).to_polars())


def test_a_result_is_an_arrow_stream() -> None:
    result = Result.of(FOUND)
    assert pl.DataFrame(result).equals(result.to_polars())


def test_a_result_tells_how_much_it_left_out() -> None:
    result = Result.of(FOUND)
    assert "3 found, 2 of them here" in repr(result)
    assert "3 found, 2 here" in result._repr_html_()
    assert {"m": {"value": 1.0}} == result.aggregations
    assert 2.0 == result.max_score
    assert repr(Result(0, ())) == "0 found"


def test_an_answer_over_http_gives_the_same_frame() -> None:
    body = {
        "hits": {
            "total": {"value": 3, "relation": "eq"},
            "max_score": 2.0,
            "hits": [{"_id": "b", "_score": 1.0, "_source": {"n": 2.5}, "sort": [1]}],
        }
    }
    result = Result.from_response(body)
    assert 3 == result.total
    assert {"_id": ["b"], "_score": [1.0], "n": [2.5]} == result.to_polars().to_dict(as_series=False)


def test_values_that_disagree_are_texts_and_nothing_is_lost() -> None:
    found = SearchResult(1, (Hit("a", 0, b'{"l":[1,"x"],"big":36893488147419103232,"o":{}}'),))
    expected = {"l": ['[1,"x"]'], "big": [36893488147419103232], "o": ["{}"]}
    frame = Result.of(found).to_polars().drop("_id", "_score")
    assert expected == frame.to_dict(as_series=False)
