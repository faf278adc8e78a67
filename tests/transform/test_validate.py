"""validate: a record that breaks a rule is rejected with the first rule it broke; the others are typed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.fields import parse_field
from headrace.model import RECORD
from headrace.transform import validate
from headrace.transform.base import Outcome

from .frames import assert_lawful, context, frame_of, kept

FIELDS = {
    name: parse_field(declared)
    for name, declared in {
        "delay": "float",
        "origin": "keyword",
        "time": "date",
        "tags": "keyword[]",
        "count": "integer",
        "extra": "json",
    }.items()
}


def step(rules: dict[str, Any]) -> validate.Validate:
    return validate.create(msgspec.convert(rules, validate.Settings), context(fields=FIELDS))


def apply(rules: dict[str, Any], frame: pl.DataFrame) -> Outcome:
    transform = step(rules)
    schema = transform.bind(frame.schema)
    outcome = transform.apply(frame)
    assert schema == outcome.frame.schema
    assert frame.height == outcome.frame.height + len(outcome.rejections)
    return outcome


def verdicts(rules: dict[str, Any], frame: pl.DataFrame) -> dict[int, tuple[str, str]]:
    return {r.record: (r.reason, r.detail) for r in apply(rules, frame).rejections}


@pytest.mark.parametrize(
    ("rule", "value", "reason", "detail"),
    [
        ({"type": "integer", "min": 3}, 2, "below_min", "x: found 2, expected at least 3"),
        ({"type": "float", "max": 3.5}, 4.0, "above_max", "x: found 4.0, expected at most 3.5"),
        ({"type": "integer", "max": 3.5}, 4, "above_max", "x: found 4, expected at most 3.5"),
        ({"type": "date", "min": "2024-01-01"}, "2023-12-31", "below_min", "expected at least 2024-01-01"),
        ({"type": "keyword", "required": True}, None, "missing_field", "x: found nothing, expected a value"),
        ({"type": "integer"}, "7", "wrong_type", "x: found '7', expected integer"),
        ({"type": "integer[]"}, ["a"], "wrong_type", "x: found ['a'], expected integer[]"),
        ({"type": "keyword", "min_length": 2}, "ß", "too_short", "expected at least 2 characters"),
        ({"type": "text", "max_length": 2}, "abc", "too_long", "expected at most 2 characters"),
        ({"type": "text", "length": 2}, "abc", "too_long", "expected at most 2 characters"),
        ({"type": "text", "length": 2}, "a", "too_short", "expected at least 2 characters"),
        ({"type": "keyword", "pattern": "^a+$"}, "ab", "pattern_mismatch", "expected a match of ^a+$"),
        ({"type": "keyword", "one_of": ["a", "b"]}, "c", "not_allowed", "x: found 'c', expected one of a, b"),
        ({"type": "integer", "one_of": [1]}, 2, "not_allowed", "x: found 2, expected one of 1"),
        ({"type": "keyword[]", "one_of": ["a"]}, ["a", "b"], "not_allowed", "x: found ['a', 'b']"),
        ({"type": "keyword", "format": "uuid"}, "x", "bad_format", "x: found 'x', expected format uuid"),
        ({"type": "float", "coerce": False}, 1, "wrong_type", "x: found 1, expected float"),
        ({"type": "float", "coerce": True}, "one", "wrong_type", "x: found 'one', expected float"),
    ],
)
def test_each_rule_rejects_with_its_reason_and_what_was_found(
    rule: dict[str, Any], value: Any, reason: str, detail: str
) -> None:
    found = verdicts({"x": rule}, frame_of(x=[value, value]))
    assert found.keys() == {0, 1}
    assert found[0][0] == reason
    assert detail in found[0][1]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"type": "integer", "min": 3, "max": 3}, 3),
        ({"type": "date", "min": "2024-01-01", "max": "2024-12-31"}, "2024-06-01T00:00:00Z"),
        ({"type": "keyword", "one_of": ["a"], "min_length": 1, "pattern": "a", "format": "hostname"}, None),
        ({"type": "keyword[]", "one_of": ["a"]}, ["a", None, "a"]),
        ({"type": "keyword[]", "one_of": ["a"]}, []),
        ({"type": "integer", "coerce": True}, " 7"),
        ({"type": "json"}, {"any": 1}),
        ({"type": "float", "coerce": False}, 1.5),
        ({"type": "date", "coerce": False}, "2024-01-01"),
    ],
)
def test_a_value_that_obeys_passes_and_nothing_is_demanded_of_null_but_required(
    rule: dict[str, Any], value: Any
) -> None:
    assert verdicts({"x": rule}, frame_of(x=[value])) == {}


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("email", ["a.b+c@example.org"], ["a@", "@b", "a b@c.de", "a..b@c.de"]),
        ("uri", ["https://example.org/a?b=%20#c", "urn:isbn:1"], ["example.org", "http:// x", "http://a/%zz"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
        ("ip", ["10.0.0.1", "::1"], ["10.0.0.256", "10.0.0.01", ":::"]),
        ("ipv4", ["10.0.0.1"], ["::1"]),
        ("ipv6", ["2001:db8::1", "::ffff:10.0.0.1"], ["10.0.0.1", "1::2::3"]),
        ("date", ["2024-02-29"], ["2023-02-29", "2024-2-9", "2024-02-29T00:00:00Z"]),
        ("date-time", ["2024-02-29T01:02:03Z", "2024-02-29t01:02:03.5+01:00"], ["2024-02-29", "2023-02-29T01:02:03Z", "2024-02-29T01:02:03"]),
        ("hostname", ["example.org", "a-b.c1"], ["-a.b", "a_b", "a" * 64, "a..b"]),
    ],
)  # fmt: skip
def test_formats(form: str, good: list[str], bad: list[str]) -> None:
    found = verdicts({"x": {"type": "keyword", "format": form}}, frame_of(x=good + bad))
    assert list(found) == list(range(len(good), len(good) + len(bad)))
    assert {reason for reason, _ in found.values()} == {"bad_format"}


def test_types_come_from_the_index() -> None:
    outcome = apply({"delay": {"min": 0}, "time": {}}, frame_of(delay=[1, 2], time=["2024-01-01", "x"]))
    assert outcome.frame.row(0) == (0, 1.0, datetime(2024, 1, 1, tzinfo=UTC))
    assert [(r.record, r.reason) for r in outcome.rejections] == [(1, "wrong_type")]


def test_types_that_nobody_declared_are_those_of_the_records() -> None:
    assert verdicts({"x": {"min": 2}}, frame_of(x=[1, 2])).keys() == {0}


def test_a_rule_with_a_type_declares_its_field() -> None:
    outcome = apply({"note": {"type": "keyword"}}, frame_of(a=[1]))
    assert outcome.frame.schema["note"] == pl.String
    assert outcome.frame["note"].to_list() == [None]


def test_the_first_broken_rule_in_declared_order_decides() -> None:
    rules = {"b": {"type": "integer", "min": 5}, "a": {"type": "integer", "required": True}}
    found = verdicts(rules, frame_of(a=[None, None], b=[1, 9]))
    assert [reason for reason, _ in found.values()] == ["below_min", "missing_field"]


def test_a_long_value_is_shortened_in_the_detail() -> None:
    detail = verdicts({"x": {"type": "keyword", "max_length": 9}}, frame_of(x=["y" * 500]))[0][1]
    assert len(detail) < 150
    assert "…" in detail


@pytest.mark.parametrize(
    ("rules", "message", "path"),
    [
        ({"dely": {"min": 1}}, "unknown field 'dely', did you mean 'delay'", ("dely",)),
        ({"x": {"type": "flaot"}}, "unknown field type 'flaot', did you mean 'float'", ("x", "type")),
        ({"origin": {"pattern": "("}}, "not a regular expression", ("origin", "pattern")),
        ({"origin": {"pattern": "(?=a)"}}, "not a regular expression", ("origin", "pattern")),
        ({"origin": {"min": 1}}, "min is for numbers and dates, not keyword", ("origin", "min")),
        ({"delay": {"max_length": 1}}, "max_length is for texts, not float", ("delay", "max_length")),
        ({"delay": {"min": 2, "max": 1}}, "min 2 is above max 1", ("delay",)),
        ({"delay": {"min": "a"}}, "min 'a' is not a number", ("delay", "min")),
        ({"time": {"min": "soon"}}, "min: 'soon' cannot be of type date", ("time", "min")),
        ({"count": {"one_of": ["a"]}}, "one_of: 'a' cannot be of type integer", ("count", "one_of")),
        ({"origin": {"length": 1, "min_length": 1}}, "length goes without", ("origin", "length")),
        ({"origin": {"min_length": 3, "max_length": 1}}, "min_length 3 is above", ("origin",)),
        ({"_id": {"required": True}}, "belongs to headrace", ("_id",)),
        ({"extra": {"one_of": ["a"]}}, "one_of is not for json", ("extra", "one_of")),
    ],
)
def test_a_wrong_rule_is_refused_with_the_path_to_it(
    rules: dict[str, Any], message: str, path: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        step(rules).bind(frame_of(delay=[1.0], other=[1]).schema)
    assert message in str(caught.value)
    assert caught.value.path == path


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="minimum"):
        step({"delay": {"minimum": 1}})


RULES = st.fixed_dictionaries(
    {},
    optional={
        "delay": st.sampled_from(
            [{"min": -5, "max": 5}, {"coerce": True}, {"coerce": False, "required": True}]
        ),
        "origin": st.sampled_from([{"one_of": ["a", "12"]}, {"pattern": "^[a-z]", "max_length": 2}]),
        "time": st.sampled_from([{"min": "2000-01-01"}, {"required": True}]),
        "tags": st.sampled_from([{"one_of": ["a"]}, {"min_length": 1}]),
        "count": st.sampled_from([{"min": 0}, {"coerce": True, "one_of": [12, 3]}]),
    },
).filter(bool)
VALUES = st.one_of(
    st.lists(st.none() | st.integers(-20, 20), min_size=6, max_size=6),
    st.lists(st.none() | st.sampled_from(["a", "12", "", "2024-01-01", "zz"]), min_size=6, max_size=6),
    st.lists(st.none() | st.floats(-9, 9), min_size=6, max_size=6),
    st.lists(st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2), min_size=6, max_size=6),
)


@given(RULES, st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUES)), st.lists(st.integers(0, 6), max_size=3))
def test_any_rules_give_the_same_on_any_split(
    rules: dict[str, Any], columns: dict[str, list[Any]], cuts: list[int]
) -> None:
    transform = step(rules)
    declared = {name: field.dtype or pl.String() for name, field in FIELDS.items()}
    transform.bind(pl.Schema({RECORD: pl.Int64(), **declared}))
    frame = frame_of(**columns)
    assert_lawful(transform, frame, cuts)
    assert kept(transform.apply(frame)) == kept(transform.apply(transform.apply(frame).frame))
