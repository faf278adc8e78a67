"""What `filter_path` keeps, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.serve.filter_path import MOST_STEPS, filtered

BODY: dict[str, Any] = {
    "took": 3,
    "hits": {
        "total": {"value": 2, "relation": "eq"},
        "hits": [{"_id": "1", "_score": 1.5, "_source": {"a": 1}}, {"_id": "2", "_score": 1.0, "_source": {"b": {"a": 2}}}],
    },
    "items": [{"index": {"_id": "x", "status": 201}}, {"create": {"_id": "y", "status": 400, "error": {}}}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        ("took", {"took": 3}),
        ("hits.total.value,took", {"took": 3, "hits": {"total": {"value": 2}}}),
        ("hits.hits._id", {"hits": {"hits": [{"_id": "1"}, {"_id": "2"}]}}),
        ("hits.hits._s*e", {"hits": {"hits": [{"_score": 1.5, "_source": {"a": 1}}, {"_score": 1.0, "_source": {"b": {"a": 2}}}]}}),
        ("items.*.status", {"items": [{"index": {"status": 201}}, {"create": {"status": 400}}]}),
        ("items.*.error,items.*.status", {"items": [{"index": {"status": 201}}, {"create": {"status": 400, "error": {}}}]}),
        ("**.a", {"hits": {"hits": [{"_source": {"a": 1}}, {"_source": {"b": {"a": 2}}}]}}),
        ("hits.**.a", {"hits": {"hits": [{"_source": {"a": 1}}, {"_source": {"b": {"a": 2}}}]}}),
        ("nothing", {}),
        ("-hits,-items", {"took": 3}),
        ("hits.hits,-hits.hits._source,-**._score", {"hits": {"hits": [{"_id": "1"}, {"_id": "2"}]}}),
        ("-items,-hits.hits", {"took": 3, "hits": {"total": {"value": 2, "relation": "eq"}}}),
        (" took , ", {"took": 3}),
    ],
)  # fmt: skip
def test_paths(paths: str, kept: Any) -> None:
    assert kept == filtered(BODY, paths.split(","))


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(BODIES)
def test_all_of_it_is_itself_and_none_of_it_is_empty(body: dict[str, Any]) -> None:
    assert body == filtered(body, ["*"])
    assert {} == filtered(body, ["-*"])


@given(BODIES, st.sampled_from(["a", "a.b", "*.c", "**.b", "a.*"]))
def test_filtering_twice_is_filtering_once(body: dict[str, Any], path: str) -> None:
    once = filtered(body, [path])
    assert once == filtered(once, [path])
    without = filtered(body, [f"-{path}"])
    assert without == filtered(without, [f"-{path}"])


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=4).map(".".join), min_size=1
)


@given(BODIES, PATHS)
def test_any_paths_mean_what_they_mean_one_after_the_other(body: dict[str, Any], paths: list[str]) -> None:
    """Together they keep what any of them keeps, and leave out what any of them leaves out."""
    without = body
    for path in paths:
        without = filtered(without, [f"-{path}"])
    assert without == filtered(body, [f"-{path}" for path in paths])
    kept = filtered(body, paths)
    assert all(filtered(body, [path]) == filtered(kept, [path]) for path in paths)
    assert kept == filtered(body, [path.replace("**", "**.**") for path in paths])


@pytest.mark.parametrize(
    "path", ["*" * 30 + "!", "*a" * 30 + "!", ".".join(["**"] * 1000) + ".no", "**.a." * 300 + "no"]
)
def test_no_path_takes_longer_than_its_length_says(path: str) -> None:
    """Each of these once held the event loop for seconds, the last for longer than anybody waits."""
    body: Any = {"a": 1}
    for _ in range(40):
        body = {"a" * 40: body, "a": body} if len(str(body)) < 100_000 else {"a": body}
    assert {} == filtered(body, [path])


def test_a_path_of_too_many_steps_is_refused() -> None:
    assert {} == filtered(BODY, [".".join("a" * MOST_STEPS)])
    with pytest.raises(RequestError, match=r"\[filter_path\] has 1025 steps, at most 1024; use fewer paths"):
        filtered(BODY, [".".join("a" * MOST_STEPS), "b"])
