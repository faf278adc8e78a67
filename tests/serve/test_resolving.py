"""Which indexes an expression means, against Elasticsearch's rules and a model that only knows sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.catalogue.entry import Alias
from headrace.core.errors import RequestError
from headrace.serve.datemath import dated
from headrace.serve.resolving import resolve

INDEXES = ["ab", "abc", "b", "bc", ".hidden"]
WEB, DB = {"term": {"host": "web"}}, {"term": {"host": "db"}}
ALIASES = {
    "all-b": {"b": Alias(), "bc": Alias()},
    "web": {"ab": Alias(filter=WEB)},
    "db": {"ab": Alias(filter=DB), "b": Alias(filter=DB)},
    "gone": {"no-more": Alias()},
}
NOW = datetime(2026, 11, 24, 1, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ab", ["ab"]),
        ("b,ab", ["b", "ab"]),
        ("b,b,b*", ["b", "bc"]),
        ("a*", ["ab", "abc", "b", "bc"]),
        ("ab*", ["ab", "abc"]),
        ("*c", ["abc", "bc"]),
        ("", ["ab", "abc", "b", "bc"]),
        ("_all", ["ab", "abc", "b", "bc"]),
        ("*", ["ab", "abc", "b", "bc"]),
        (".hid*", [".hidden"]),
        (".hidden", [".hidden"]),
        ("*,-b*", ["ab", "abc"]),
        ("*,-b,b", ["ab", "abc", "bc", "b"]),
        ("*b*,-all-b", ["ab", "abc", "b", "bc"]),
        ("all*,-bc", ["b"]),
        ("all-*,-all-b", []),
        ("all-b", ["b", "bc"]),
        ("gone", []),
        ("nothing*", []),
        ("ab,-*", ["ab"]),
        ("*,-*", []),
        ("<a{now/d{'}}>", None),
    ],
)
def test_an_expression_means(expression: str, expected: list[str] | None) -> None:
    """In the order named, each once; patterns sorted; `-x` is an exclusion only behind a pattern."""
    if expected is None:
        with pytest.raises(RequestError):
            resolve(expression, INDEXES, ALIASES)
    else:
        assert expected == list(resolve(expression, INDEXES, ALIASES))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("web", {"ab": WEB}),
        ("web,db", {"ab": {"bool": {"should": [WEB, DB], "minimum_should_match": 1}}, "b": DB}),
        ("web,ab", {"ab": None}),
        ("db,all-b", {"ab": DB, "b": None, "bc": None}),
        ("we*", {"ab": WEB}),
        ("we*,d*,-web", {"ab": DB, "b": DB}),
    ],
)
def test_an_index_reached_only_under_filtered_aliases_is_bound_by_any_of_their_filters(
    expression: str, expected: dict[str, Any]
) -> None:
    assert expected == resolve(expression, INDEXES, ALIASES)


@pytest.mark.parametrize(
    ("expression", "options", "status", "told"),
    [
        ("abd", {}, 404, "no such index [abd], did you mean 'ab'?"),
        ("ab,nope", {}, 404, "no such index [nope]"),
        ("-ab", {}, 404, "no such index [-ab]"),
        ("nope", {"ignore_unavailable": True, "allow_no_indices": False}, 404, "no such index [nope]"),
        ("nope*", {"allow_no_indices": False}, 404, "no such index [nope*]"),
        ("_nope", {}, 400, "Invalid index name [_nope], must not start with '_'."),
        ("ab,,b", {}, 400, "must not be empty"),
    ],
)
def test_what_is_not_there_is_named(
    expression: str, options: dict[str, bool], status: int, told: str
) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(expression, INDEXES, ALIASES, **options)
    assert status == caught.value.status
    assert told in caught.value.reason


def test_unavailable_names_are_passed_over_where_that_is_asked_for() -> None:
    assert ["b"] == list(resolve("nope,b", INDEXES, ALIASES, ignore_unavailable=True))
    assert {} == resolve("nope", INDEXES, ALIASES, ignore_unavailable=True)


def test_an_error_lists_no_thousand_names() -> None:
    with pytest.raises(RequestError, match=r"^no such index \[x\]$"):
        resolve("x", [f"i{number}" for number in range(1000)], {})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("<logs-{now/d}>", "logs-2026.11.24"),
        ("<logs-{now}>", "logs-2026.11.24"),
        ("<logs-{now-1d/d}>", "logs-2026.11.23"),
        ("<logs-{now/M{yyyy.MM}}>", "logs-2026.11"),
        ("<logs-{now/M-1M{yyyy-MM-dd}}>", "logs-2026-10-01"),
        ("<logs-{now/w{yyyy.MM.dd}}-x>", "logs-2026.11.23-x"),
        ("<logs-{now-1y{yyyy}}>", "logs-2025"),
        ("<logs-{now/d{yyyy.MM.dd|-02:00}}>", "logs-2026.11.23"),
        ("<logs-{now+1h/h{yyyyMMddHHmm}}>", "logs-202611240200"),
        ("<a-{now/d}-{now+1d/d}>", "a-2026.11.24-2026.11.25"),
    ],
)
def test_dates_in_names_are_filled_in(name: str, expected: str) -> None:
    assert expected == dated(name, NOW)


@pytest.mark.parametrize(
    "name",
    ["<logs>", "<l-{now/q}>", "<l-{then}>", "<l-{now{QQ}}>", "<l-{now{yyyy|Mars}}>", "<l-{now", "<{now}}>",
     "<l-{now+999999y}>", "<>", "<l-{now++}>"],
)  # fmt: skip
def test_a_date_that_makes_no_sense_is_refused_by_name(name: str) -> None:
    if not name.endswith(">"):
        assert name == dated(name, NOW)
        return
    with pytest.raises(RequestError, match=re.escape(f"invalid dynamic name expression [{name}]")):
        dated(name, NOW)


LETTERS = st.text("ab.", min_size=1, max_size=3)
PARTS = st.lists(
    st.tuples(st.sampled_from(["", "-"]), st.text("ab.*", min_size=1, max_size=3)), min_size=1, max_size=5
)


@given(
    indexes=st.sets(LETTERS),
    aliases=st.dictionaries(LETTERS, st.dictionaries(LETTERS, st.sampled_from([None, "f", "g"]), min_size=1)),
    parts=PARTS,
)
def test_resolving_agrees_with_a_model_of_pairs(
    indexes: set[str], aliases: dict[str, dict[str, str | None]], parts: list[tuple[str, str]]
) -> None:
    """The model keeps (index, name it was reached under) and decides the rest at the end."""
    aliases = {name: held for name, held in aliases.items() if name not in indexes}
    given_aliases: Mapping[str, Mapping[str, Alias]] = {
        name: {index: Alias(filter={"is": bound} if bound else None) for index, bound in held.items()}
        for name, held in aliases.items()
    }
    expression = ",".join(sign + name for sign, name in parts)
    expected = _model(indexes, aliases, expression)
    found = resolve(expression, indexes, given_aliases, ignore_unavailable=True)
    assert expected == {index: _filters(bound) for index, bound in found.items()}


def _model(
    indexes: set[str], aliases: dict[str, dict[str, str | None]], expression: str
) -> dict[str, set[str] | None]:
    everything = [(index, index, None) for index in indexes] + [
        (index, alias, bound)
        for alias, held in aliases.items()
        for index, bound in held.items()
        if index in indexes
    ]
    reached: set[tuple[str, str, str | None]] = set()
    wild = expression == "*"
    for part in expression.split(","):
        pattern = part[1:] if wild and part.startswith("-") else part
        regex = re.compile(pattern.replace(".", "[.]").replace("*", ".*"))
        if wild and part.startswith("-"):
            reached = {r for r in reached if not regex.fullmatch(r[0]) and not regex.fullmatch(r[1])}
            continue
        wild = wild or "*" in part
        reached |= {
            each
            for each in everything
            if regex.fullmatch(each[1]) and ("*" not in part or part[0] == "." or each[1][0] != ".")
        }
    return {
        index: None
        if any(bound is None for name, _, bound in reached if name == index)
        else {str(bound) for name, _, bound in reached if name == index}
        for index, _, _ in reached
    }


def _filters(bound: Any) -> set[str] | None:
    if bound is None:
        return None
    return {each["is"] for each in bound.get("bool", {"should": [bound]})["should"]}


def test_a_pattern_of_many_stars_is_answered() -> None:
    """A name it nearly fits once held the server for seconds."""
    name = "a" * 60
    assert {} == resolve("*a" * 40 + "*b", [name], {})
    assert {name: None} == resolve("*a" * 40 + "*", [name], {})
