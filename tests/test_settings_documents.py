"""Configuration text as a plain tree with the line of every key."""

from __future__ import annotations

import pytest

from headrace.settings.documents import ParseError, parse, toml_lines
from headrace.settings.scalars import read_scalar

TOML = '''\
a = 1
"quoted.key" = """
fake = 3
"""
[pipelines.x]
b = { c = 2 }
[[pipelines.x.transform]]
set = {}
[[pipelines.x.transform]]
where = "a"
d.e = 5
'''


def test_lines_of_toml_follow_tables_and_arrays_and_skip_text() -> None:
    expected = {
        ("a",): 1,
        ("quoted.key",): 2,
        ("pipelines",): 5,
        ("pipelines", "x"): 5,
        ("pipelines", "x", "b"): 6,
        ("pipelines", "x", "transform"): 7,
        ("pipelines", "x", "transform", 0): 7,
        ("pipelines", "x", "transform", 0, "set"): 8,
        ("pipelines", "x", "transform", 1): 9,
        ("pipelines", "x", "transform", 1, "where"): 10,
        ("pipelines", "x", "transform", 1, "d"): 11,
        ("pipelines", "x", "transform", 1, "d", "e"): 11,
    }
    assert expected == toml_lines(TOML)


def test_yaml_anchors_are_followed_and_merged() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n"
    assert {"a": {"x": 1, "y": 2}, "b": {"y": 3, "x": 1}, "c": {"x": 1, "y": 2}} == parse(text, "yaml").tree


@pytest.mark.parametrize(
    ("style", "text", "line", "message"),
    [
        ("yaml", "a: 1\na: 2", 2, "duplicate key 'a', first given in line 1"),
        ("yaml", "a: !python x", 1, "unknown tag"),
        ("yaml", "a: &x [*x]", 1, "leads into itself"),
        ("yaml", "a: 1\n---\nb: 2", 2, "another document"),
        ("yaml", "? [a]\n: 1", 1, "a key must be plain text"),
        ("json", '{"a": 1,\n"a": 2}', 2, "duplicate key 'a'"),
        ("json", '{"a": {\n"b": 1,\n\t"b": 2}}', 3, "duplicate key 'b'"),
        ("json", '{"a": 1,\n}', 2, "not JSON"),
        ("json", '{"a": NaN}', None, "NaN"),
        ("toml", "a = 1\nb = ", 2, "not TOML"),
    ],
)
def test_what_is_not_of_the_format_is_refused_with_its_line(
    style: str, text: str, line: int | None, message: str
) -> None:
    with pytest.raises(ParseError, match=message) as raised:
        parse(text, style)
    assert line == raised.value.line


def test_a_duplicate_key_of_toml_is_refused() -> None:
    with pytest.raises(ParseError, match="not TOML"):
        parse("a = 1\na = 2\n", "toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ("on", "NO", "y", "12:30", "1_000", "0b1", "2026-01-01", "", "nan", "1.2.3")),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("-1", -1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("True", True),
        ("~", None),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert (type(value), value) == (type(read_scalar(text)), read_scalar(text))
