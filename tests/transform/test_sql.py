"""SQL expressions: what is let through gives the same for any split; what is not is refused with its place."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.model import RECORD
from headrace.transform import set as set_step
from headrace.transform import where
from headrace.transform._fence import FUNCTIONS, compile_expression

from .frames import assert_lawful, context

ROW = pl.DataFrame(
    {
        RECORD: [0],
        "i": [-7],
        "j": [2],
        "f": [2.25],
        "s": ["Ab c"],
        "b": [True],
        "d": [datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)],
        "l": [[1, 2, 4]],
        "t": [{"c": 5}],
        "n": [None],
    },
    schema_overrides={"n": pl.Int64, "i": pl.Int64},
)

FUNCTION_RESULTS: list[tuple[str, Any]] = [
    ("abs(i)", 7),
    ("ceil(f)", 3.0),
    ("ceiling(f)", 3.0),
    ("floor(f)", 2.0),
    ("round(f + 0.02, 1)", 2.3),
    ("sign(i)", -1),
    ("sqrt(f)", 1.5),
    ("cbrt(8.0)", 2.0),
    ("exp(0.0 * f)", 1.0),
    ("ln(f / f)", 0.0),
    ("log(f * 0 + 8, 2)", 3.0),
    ("log2(f * 0 + 8)", 3.0),
    ("log10(f * 0 + 100)", 2.0),
    ("log1p(f * 0)", 0.0),
    ("pow(f, 2)", 5.0625),
    ("power(j, 3)", 8),
    ("mod(i, j)", -1),
    ("div(i, j)", -3),
    ("sin(f * 0)", 0.0),
    ("cos(f * 0)", 1.0),
    ("tan(f * 0)", 0.0),
    ("asin(f * 0)", 0.0),
    ("acos(f / f)", 0.0),
    ("atan(f * 0)", 0.0),
    ("atan2(f * 0, f)", 0.0),
    ("degrees(f * 0)", 0.0),
    ("radians(f * 0 + 180)", math.pi),
    ("upper(s)", "AB C"),
    ("lower(s)", "ab c"),
    ("initcap(s)", "Ab C"),
    ("length(s)", 4),
    ("char_length(s)", 4),
    ("octet_length(s)", 4),
    ("trim(' ' || s || ' ')", "Ab c"),
    ("ltrim(' ' || s)", "Ab c"),
    ("rtrim(s || ' ')", "Ab c"),
    ("replace(s, 'b', 'x')", "Ax c"),
    ("reverse(s)", "c bA"),
    ("left(s, 2)", "Ab"),
    ("right(s, 1)", "c"),
    ("substr(s, 2)", "b c"),
    ("substring(s, 1, 2)", "Ab"),
    ("starts_with(s, 'A')", True),
    ("ends_with(s, 'A')", False),
    ("strpos(s, 'c')", 4),
    ("position('c' in s)", 4),
    ("concat(s, '-', i)", "Ab c--7"),
    ("concat_ws('/', s, 'x')", "Ab c/x"),
    ("split_part(s, ' ', 2)", "c"),
    ("lpad(s, 6, '*')", "**Ab c"),
    ("rpad(s, 6, '*')", "Ab c**"),
    ("string_to_array(s, ' ')", ["Ab", "c"]),
    ("regexp_like(s, '^a', 'i')", True),
    ("coalesce(n, j)", 2),
    ("nullif(j, 2)", None),
    ("ifnull(n, j)", 2),
    ("if(b, i, j)", -7),
    ("greatest(i, j)", 2),
    ("least(i, j)", -7),
    ("year(d)", 2024),
    ("month(d)", 5),
    ("day(d)", 6),
    ("hour(d)", 7),
    ("minute(d)", 8),
    ("second(d)", 9),
    ("dayofweek(d)", 1),
    ("extract(quarter from d)", 2),
    ("date_part('week', d)", 19),
    ("strptime('2024-05-06 ' || '07:00', '%Y-%m-%d %H:%M')", datetime(2024, 5, 6, 7)),  # noqa: DTZ001
    ("strftime(d, '%d.%m.%Y')", "06.05.2024"),
    ("cast(i as varchar)", "-7"),
    ("try_cast(s as bigint)", None),
    ("array_length(l)", 3),
    ("array_contains(l, 2)", True),
    ("array_to_string(l, '+')", "1+2+4"),
    ("array_get(l, 1)", 1),
    ("array_sum(l)", 7),
    ("array_mean(l)", 7 / 3),
]
OPERATOR_RESULTS: list[tuple[str, Any]] = [
    ("i + j * 2 - 1", -4),
    ("i / j", -3.5),
    ("i // j", -3),
    ("i // (j - 2)", None),
    ("i % j", -1),
    ("i % (j - 2)", None),
    ("-i", 7),
    ("i <> j and not (i = j)", True),
    ("i is distinct from n", True),
    ("i between -10 and 0", True),
    ("i in (1, -7)", True),
    ("s not in ('x')", True),
    ("s like 'A%c'", True),
    ("s ilike 'a_ c'", True),
    ("s ~ '^A'", True),
    ("s !~* '^a'", False),
    ("s || i", "Ab c-7"),
    ("n is null", True),
    ("b is not true", False),
    ("case when i > 0 then 'p' when i < 0 then 'm' else 'z' end", "m"),
    ("case j when 2 then 'two' end", "two"),
    ("i::double", -7.0),
    ("cast(d as date)", date(2024, 5, 6)),
    ("d > timestamptz '2024-05-06 00:00:00'", True),
    ("d + interval '1 day'", datetime(2024, 5, 7, 7, 8, 9, tzinfo=UTC)),
    ("l[2]", 2),
    ("t.c", 5),
    ("s = 'it''s \\'", False),
    ("j & 3", 2),
    ("j | 1", 3),
    ('"s"', "Ab c"),
]


@pytest.mark.parametrize(("text", "expected"), FUNCTION_RESULTS + OPERATOR_RESULTS)
def test_each_function_and_operator_gives_what_its_page_says(text: str, expected: object) -> None:
    transform = set_step.create({"result": text}, context())
    transform.bind(ROW.schema)
    found = transform.apply(ROW).frame["result"].to_list()[0]
    if isinstance(expected, float):
        assert math.isclose(found, expected, abs_tol=1e-12)
    else:
        assert expected == found


def test_every_allowed_function_is_tried() -> None:
    called = {name.lower() for text, _ in FUNCTION_RESULTS for name in re.findall(r"([a-z_0-9]+)\(", text)}
    assert called == FUNCTIONS


def test_the_page_lists_the_allowed_functions_and_no_others() -> None:
    page = (Path(__file__).parents[2] / "docs" / "transform" / "expressions.md").read_text("utf-8")
    table = page.split("## Functions")[1].split("No others")[0]
    listed = [name for names in re.findall(r"`([^`]+)`", table) for name in names.split()]
    assert sorted(FUNCTIONS) == sorted(listed)


def test_integers_wrap_and_halves_are_rounded_to_even() -> None:
    transform = set_step.create({"w": "i + 1", "m": "i * 2", "r": "round(f)"}, context())
    frame = ROW.with_columns(i=pl.lit(2**63 - 1), f=pl.lit(2.5))
    transform.bind(frame.schema)
    assert transform.apply(frame).frame.select("w", "m", "r").row(0) == (-(2**63), -2, 2.0)


def test_bound_again_it_forgets_the_first_schema() -> None:
    transform = set_step.create({"a": "a + 1"}, context())
    for first in (1.5, 1):
        frame = pl.DataFrame({RECORD: [0], "a": [first]})
        assert transform.bind(frame.schema)["a"] == frame.schema["a"]
        assert transform.apply(frame).frame["a"].to_list() == [first + 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i > avg(i)", "'avg' at line 1, column 5 looks at other records"),
        ("i > SUM (i)", "'sum' at line 1, column 5 looks at other records"),
        ("row_number() over () = 1", "'row_number' at line 1, column 1 looks at other records"),
        ("abs(i) over (partition by s) = 1", "'over' at line 1, column 8 looks at other records"),
        ("lag(i) over (order by i) = 1", "looks at other records"),
        ("i = (select max(i) from self)", "looks at other records"),
        ("exists (select 1)", "looks at other records"),
        ("columns('i') > 1", "looks at other records"),
        ("unnest(l) = 1", "looks at other records"),
        ("d > now()", "'now' at line 1, column 5 is different each time"),
        ("d >\n  current_timestamp", "'current_timestamp' at line 2, column 3 is different each time"),
        ("cast(d as date) = current_date", "is different each time"),
        ("random() < 0.5", "is different each time"),
        ('"now"() > d', "unknown function '\"now\"'"),
        ("uper(s) = 'X'", "unknown function 'uper' at line 1, column 1, did you mean 'upper'"),
        ("date(s) = d", "unknown function 'date'"),
        ("timestamp(s) = d", "unknown function 'timestamp'"),
        ("datetime(s) = d", "unknown function 'datetime'"),
        ("i > 1 -- always", "a comment at line 1, column 7"),
        ("i > /* 1 */ 2", "a comment at line 1, column 5"),
        ("i > 1; drop", "unexpected ';' at line 1, column 6"),
        ("i = $1", "unexpected '$' at line 1, column 5"),
        ("s = e'\\n'", "a space is missing before the text at line 1, column 6"),
        ("s = $$now()$$", "unexpected '$'"),
        ("s = 'open", 'unexpected "\'" at line 1, column 5'),
        ("i >", "not an SQL expression after line 1, column 3"),
        ("s ~ s", "invalid pattern for '~'"),
        ("regexp_like(s, s)", "must be a text, not a field"),
        ("", "the expression is empty"),
        (" \n", "the expression is empty"),
        ("i as other", "unexpected 'other' at line 1, column 6 in 'i as other'"),
        ("current_user = s", "unsupported function 'current_user'"),
        ("timestamptz 'now' < d", "invalid TIMESTAMP literal 'now'"),
        ("(i, j) = 1", "Tuple"),
        ("i as i", "is not computed row by row"),
        ("*", "unable to parse"),
    ],
)
def test_what_depends_on_more_than_the_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_expression(text)
    assert message in str(caught.value)


def test_a_misspelt_field_is_found_with_its_place_and_the_nearest_name() -> None:
    schema = pl.Schema({RECORD: pl.Int64(), "dep_delay": pl.Float64(), "origin": pl.String()})
    with pytest.raises(ConfigError) as caught:
        where.create("not dep_dely > 5", context()).bind(schema)
    expected = (
        "unknown field 'dep_dely' at line 1, column 5, did you mean 'dep_delay'? (have: dep_delay, origin)"
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upper(i)", "expected `String`, got `i64`"),
        ("s + 1", "arithmetic on dtypes"),
        ("s > 1", "cannot compare string with numeric type"),
        ("cast(s as timestamp)", "cannot cast text to Datetime"),
        ("t.x", "x"),
    ],
)
def test_a_type_clash_is_found_when_bound_in_the_engines_words(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        set_step.create({"r": text}, context()).bind(ROW.schema)
    assert message in str(caught.value)


INTS = st.none() | st.integers(-10, 10) | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.5, -2.25, 1e308, 1e-300]) | st.floats(-100, 100)
TEXTS = st.none() | st.sampled_from(["", "a", "Ab c", "12", "-3", "1e5", "ß", "a%", "[", "x" * 30])
DATES = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
FRAMES = st.lists(
    st.fixed_dictionaries(
        {
            "i": INTS,
            "j": INTS,
            "f": FLOATS,
            "s": TEXTS,
            "b": st.none() | st.booleans(),
            "d": DATES,
            "l": st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=3),
            "t": st.fixed_dictionaries({"c": INTS}),
            "n": st.none(),
        }
    ),
    max_size=12,
).map(
    lambda rows: (
        pl.DataFrame(rows, schema=dict(list(ROW.schema.items())[1:]))
        .with_row_index(RECORD)
        .cast({RECORD: pl.Int64})
    )
)
CUTS = st.lists(st.integers(0, 100), max_size=4)

_integers = st.recursive(
    st.sampled_from(["i", "j", "n", "0", "3", "-2", "l[1]", "t.c", "length(s)", "year(d)", "array_sum(l)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(
            lambda p: f"({' '.join(p)})"
        ),
        inner.map(lambda x: f"abs({x})"),
        st.tuples(inner, inner).map(lambda p: f"coalesce({p[0]}, {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"case when b then {p[0]} else {p[1]} end"),
        st.just("cast(s as bigint)"),
        st.just("try_cast(s as bigint)"),
    ),
    max_leaves=4,
)
_floats = st.one_of(
    st.sampled_from(["f", "sqrt(f)", "ln(f)", "exp(f)", "round(f, 1)", "pow(f, 3)", "cast(s as double)"]),
    st.tuples(_integers, _integers).map(lambda p: f"({p[0]} / {p[1]})"),
    _integers.map(lambda x: f"(f * ({x}))"),
)
_texts = st.one_of(
    st.sampled_from(
        ["s", "upper(s)", "reverse(s)", "replace(s, 'a', 'b')", "split_part(s, ' ', 2)", "s || 'x'"]
    ),
    _integers.map(lambda x: f"cast({x} as varchar)"),
    st.tuples(_integers, _integers).map(lambda p: f"concat(s, {p[0]}, '-', {p[1]})"),
)
_conditions = st.one_of(
    st.tuples(_integers, st.sampled_from(["<", "=", "<>", ">="]), _floats).map(" ".join),
    st.tuples(_texts, st.sampled_from(["like 'a%'", "~ '[a-c]'", "in ('a', '12')", "is null"])).map(" ".join),
    _texts.map(lambda x: f"starts_with({x}, s)"),
    _texts.map(lambda x: f"regexp_like({x}, '[a-c]')"),
    st.just("array_contains(l, j)"),
    st.just("i = any(l)"),
    st.just("d > timestamptz '2020-01-01 00:00:00'"),
)
WITH_FIELDS_AS_ARGUMENTS = (
    """
strpos(s, s); position(upper(s) in s); replace(s, s, 'x'); replace(s, 'a', s); split_part(s, 'a', i)
split_part(s, s, 1); left(s, i); right(s, j); substr(s, i); substr(s, i, j); lpad(s, i, 'x'); rpad(s, j, 'x')
string_to_array(s, s); array_contains(l, i); array_get(l, i); l[j]; array_to_string(l, s); pow(i, j); pow(f, i)
power(f, f); log(f, f); mod(f, f); div(i, j); atan2(f, f); greatest(f, i); least(i, j, f); concat_ws(s, s, i)
nullif(s, lower(s)); if(b, f, i); ends_with(s, s); trim(both s from s); ltrim(s, s); case s when 'a' then i end
i = any(l); s in (s, 'a'); cast(f as bigint); cast(i as smallint); cast(i as bigint unsigned); try_cast(f as int)
cast(d as varchar); cast(b as int); cast(i as boolean); s || f; round(f); strptime(s, '%Y'); extract(epoch from d)
""".replace("\n", ";")
    .strip(";")
    .split(";")
)

EXPRESSIONS = st.one_of(
    st.sampled_from([text.strip() for text in WITH_FIELDS_AS_ARGUMENTS]),
    st.sampled_from([text for text, _ in FUNCTION_RESULTS + OPERATOR_RESULTS]),
    _integers,
    _floats,
    _texts,
    _conditions,
)


def bound_or_none(texts: dict[str, str]) -> set_step.Set | None:
    """What is accepted must be lawful; a pattern from a field or a clash of types is not accepted."""
    try:
        transform = set_step.create(texts, context())
        transform.bind(ROW.schema)
    except ConfigError:
        return None
    return transform


def test_most_generated_expressions_are_accepted() -> None:
    accepted = [text for text in WITH_FIELDS_AS_ARGUMENTS if bound_or_none({"r": text})]
    assert len(accepted) > 0.75 * len(WITH_FIELDS_AS_ARGUMENTS)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(EXPRESSIONS, EXPRESSIONS, FRAMES, CUTS)
def test_any_accepted_expression_gives_the_same_on_any_split(
    first: str, second: str, frame: pl.DataFrame, cuts: list[int]
) -> None:
    transform = bound_or_none({"p": first, "q": second})
    if transform is not None:
        assert_lawful(transform, frame, cuts)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_conditions, FRAMES, CUTS)
def test_any_accepted_condition_keeps_the_same_records_on_any_split(
    condition: str, frame: pl.DataFrame, cuts: list[int]
) -> None:
    transform = where.create(condition, context())
    transform.bind(ROW.schema)
    assert_lawful(transform, frame, cuts)


@given(
    st.sampled_from(
        ["a + 1", "cast(a as varchar)", "coalesce(a, 5)", "a > 3", "upper(a)", "a * 1.5", "a is null"]
    ),
    st.sampled_from(
        [pl.Series("a", [1]), pl.Series("a", [1.5]), pl.Series("a", ["x"]), pl.Series("a", [True])]
    ),
    st.one_of(
        st.lists(st.none() | st.integers(), max_size=6).map(
            lambda v: [None if x is None else x % 2**60 for x in v]
        ),
        st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=6),
        st.lists(st.none() | st.text(max_size=3), max_size=6),
    ),
    CUTS,
)
def test_a_frame_of_other_types_than_bound_is_still_lawful(
    text: str, bound: pl.Series, values: list[Any], cuts: list[int]
) -> None:
    transform = set_step.create({"r": text}, context())
    try:
        transform.bind(bound.to_frame().with_row_index(RECORD).cast({RECORD: pl.Int64}).schema)
    except ConfigError:
        return
    frame = pl.DataFrame({"a": values}).with_row_index(RECORD).cast({RECORD: pl.Int64})
    assert_lawful(transform, frame, cuts)
