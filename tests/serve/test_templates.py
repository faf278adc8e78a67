"""Which template decides, and what comes of several on top of each other."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.catalogue.entry import Catalogue
from headrace.catalogue.template import Templates
from headrace.index.mapping import from_elasticsearch
from headrace.serve import templates

PATTERNS = st.text("ab*", min_size=1, max_size=6)


def catalogue(**kinds: dict[str, dict[str, Any]]) -> Catalogue:
    return Catalogue(templates=Templates(**kinds))


def test_the_highest_priority_decides() -> None:
    known = catalogue(
        index={
            "low": {"index_patterns": ["logs-*"]},
            "high": {"index_patterns": ["x", "logs-a*"], "priority": 5},
            "other": {"index_patterns": ["metrics-*"], "priority": 9},
        }
    )
    assert ["high", "low", None] == [templates.matching(known, n) for n in ("logs-ab", "logs-b", "y")]


def test_components_lie_under_the_template_and_it_under_the_request() -> None:
    known = catalogue(
        component={
            "base": {
                "template": {
                    "settings": {"number_of_replicas": 2, "index": {"refresh_interval": "9s"}},
                    "mappings": {"properties": {"a": {"type": "keyword"}, "o": {"properties": {"x": {"type": "long"}}}}},
                }
            }
        },
        index={
            "t": {
                "index_patterns": ["*"],
                "composed_of": ["base", "not-there"],
                "template": {
                    "settings": {"index.refresh_interval": "5s"},
                    "mappings": {"properties": {"a": {"type": "text"}, "o": {"properties": {"y": {"type": "date"}}}}},
                    "aliases": {"all": {}, "{index}-too": {}},
                },
            }
        },
    )  # fmt: skip
    body, told = templates.applied(known, "logs", {"settings": {"number_of_replicas": 0}})
    assert [] == told
    assert {"index.number_of_replicas": 0, "index.refresh_interval": "5s"} == body["settings"]
    assert {
        "a": {"type": "text"},
        "o": {"properties": {"x": {"type": "long"}, "y": {"type": "date"}}},
    } == body["mappings"]["properties"]
    assert {"all", "logs-too"} == set(body["aliases"])


def test_older_templates_count_only_without_a_newer_one_in_their_order() -> None:
    legacy = {
        "late": {"index_patterns": ["l*"], "order": 2, "mappings": {"properties": {"a": {"type": "text"}}}},
        "early": {"index_patterns": ["l*"], "order": 1, "mappings": {"properties": {"a": {"type": "ip"}, "b": {"type": "ip"}}}},
    }  # fmt: skip
    body, _ = templates.applied(catalogue(legacy=legacy), "logs", {})
    assert {"a": {"type": "text"}, "b": {"type": "ip"}} == body["mappings"]["properties"]
    newer = catalogue(legacy=legacy, index={"t": {"index_patterns": ["logs"]}})
    assert ({}, []) == templates.applied(newer, "logs", {})


def test_what_no_index_can_have_is_left_out_and_told() -> None:
    """A shipper's own template is no reason to refuse its documents."""
    settings = {"index.number_of_shards": 1, "index.nonsense": 7}
    mappings = {
        "runtime": {"r": {"type": "long"}},
        "properties": {
            "message": {"type": "text"},
            "old": {"type": "alias", "path": "message"},
            "deep": {"properties": {"range": {"type": "ip_range"}, "fine": {"type": "ip"}}},
        },
    }
    kept, mapped, told = templates.possible(settings, mappings)
    assert {"index.number_of_shards": 1} == kept
    assert {
        "message": {"type": "text"},
        "deep": {"properties": {"fine": {"type": "ip"}}},
    } == mapped["properties"]
    assert ["index.nonsense", "runtime", "old", "deep.range"] == [each[1 : each.index("]")] for each in told]
    from_elasticsearch(mapped, kept)


@given(PATTERNS, PATTERNS, st.text("ab", max_size=6))
def test_patterns_that_match_one_name_overlap(one: str, other: str, name: str) -> None:
    assert templates.overlap(one, other) == templates.overlap(other, one)
    if fnmatchcase(name, one) and fnmatchcase(name, other):
        assert templates.overlap(one, other)


def test_patterns_that_match_no_name_together_do_not() -> None:
    assert not templates.overlap("logs-*", "metrics-*")
    assert not templates.overlap("a*b", "*c")
    assert templates.overlap("a*", "*b")
