"""Fields: what may be declared, and how values of other types become the field's own."""

from __future__ import annotations

import ipaddress
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.fields import FieldType, cast, parse_field


def became(values: list[Any], declared: object, *, coerce: bool = False, dtype: Any = None) -> list[Any]:
    series = pl.Series("x", values, dtype=dtype, strict=True)
    return (
        series.to_frame()
        .select(cast("x", series.dtype, parse_field(declared), coerce=coerce))
        .to_series()
        .to_list()
    )


NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expected", "values", "declared"),
    [
        ([1.0, -(2.0**53), None], [1, -(2**53), 2**53 + 1], "float"),
        ([None], [2**63 - 1], "float"),
        ([1.5, None, None, None], [1.5, math.inf, math.nan, -math.inf], "float"),
        ([0, 5, None], [0, 5, -1], "unsigned"),
        ([None, None], [1.0, 1.5], "integer"),
        ([None, None], ["1", "x"], "integer"),
        ([None, None], [True, False], "integer"),
        (["1", "-2"], [1, -2], "keyword"),
        (["true", "false"], [True, False], "text"),
        ([None], [1.5], "keyword"),
        ([None], ["true"], "boolean"),
        ([None], [1], "boolean"),
        ([["a"], None], ["a", None], "keyword[]"),
        ([[1.0], [2.0]], [1, 2], "float[]"),
        ([[1.0, 2.0], []], [[1, 2], []], "float[]"),
        ([None, [3.0]], [[1, 2**53 + 1], [3]], "float[]"),
        ([None], [["a", "b"]], "keyword"),
        ([None], [{"a": 1}], "keyword"),
        ([{"a": 1}], [{"a": 1}], "json"),
        ([None, None], [None, None], "ip"),
    ],
)
def test_only_what_loses_nothing_is_converted(expected: list[Any], values: list[Any], declared: str) -> None:
    assert expected == became(values, declared)


@pytest.mark.parametrize(
    ("expected", "values", "declared"),
    [
        ([1, -2, None, None, 12], [" 1", "-2 ", "x", "1.5", "12.0"], "integer"),
        ([2**63 - 1, None], [str(2**63 - 1), str(2**63)], "integer"),
        ([2**64 - 1, None], [str(2**64 - 1), "-1"], "unsigned"),
        ([1, None, None, None], [1.0, 1.5, math.nan, 2.0**63], "integer"),
        ([1500.0, None, None, None, None], ["1.5e3", "1e400", "nan", "inf", "1_0"], "float"),
        ([True, False, None], ["true ", "false", "yes"], "boolean"),
        (["1.5", None], [1.5, math.inf], "keyword"),
        ([" x "], [" x "], "keyword"),
        (["10.0.0.1"], [" 10.0.0.1 "], "ip"),
        ([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None], [1000.0, 0.5], "date"),
    ],
)
def test_coerce_also_reads_numbers_and_booleans_from_text(
    expected: list[Any], values: list[Any], declared: str
) -> None:
    assert expected == became(values, declared, coerce=True)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (NOON, "2024-05-06T12:00:00Z"),
        (NOON, "2024-05-06 12:00:00"),
        (NOON, "2024-05-06T12:00"),
        (NOON, "2024-05-06T12"),
        (NOON, "2024-05-06T14:00:00+02:00"),
        (NOON, "2024-05-06T14:00+0200"),
        (NOON, "2024-05-06T07-05:00"),
        (datetime(2024, 5, 6, tzinfo=UTC), "2024-05-06"),
        (datetime(2024, 5, 1, tzinfo=UTC), "2024-05"),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024"),
        (NOON.replace(microsecond=100_000), "2024-05-06T12:00:00.1Z"),
        (NOON.replace(microsecond=123_456), "2024-05-06T12:00:00.123456789Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1969-12-31T23:59:59.9999999Z"),
        *[
            (None, text)
            for text in (
                "",
                "x",
                "2024-5-6",
                "2024-02-30",
                "2024-13-01T00:00:00Z",
                "2024-05-06T24:00:00Z",
                "2024-05-06T12:00:60Z",
                "2024-05-06T12:00:00.1234567891Z",
                " 2024-05-06",
                "2024-05-06\n",
                "+2024-05-06",
                "2024-0500",
                "1677-09-20",
                "1677-09-21",
                "2262-04-12",
                "9999-12-31",
                "0001-01-01",
                "2024-05-06T12:00:00 Z",
                "05/06/2024",
            )
        ],
    ],
)
def test_a_date_text_is_iso_8601_and_without_a_zone_is_utc(expected: datetime | None, text: str) -> None:
    assert [expected] == became([text], "date")


def test_dates_come_from_numbers_as_epoch_milliseconds_and_from_dates() -> None:
    assert became([int(NOON.timestamp() * 1000), 2**62, -(2**63)], "date") == [NOON, None, None]
    assert [datetime(2024, 5, 6, tzinfo=UTC)] == became([date(2024, 5, 6)], "date")
    assert became([NOON.replace(tzinfo=None)], "date") == [NOON]
    assert became([NOON.astimezone(timezone(timedelta(hours=2)))], "date") == [NOON]
    assert became([NOON], "date", dtype=pl.Datetime("ns", "UTC")) == [NOON]
    assert became([datetime(9999, 1, 1)], "date", dtype=pl.Datetime("ms")) == [None]  # noqa: DTZ001
    assert became([date(9999, 1, 1)], "date") == [None]


def test_the_first_and_last_dates_of_the_engine_pass() -> None:
    assert None not in became(["1677-09-21T00:12:43.145225Z", "2262-04-11T23:47:16.854775Z"], "date")
    assert became(["1677-09-21T00:12:43.145224Z", "2262-04-11T23:47:16.854776Z"], "date") == [None, None]


@given(
    st.integers(0, 9),
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1582, 1677, 1678, 1969, 1970, 2024, 2261, 2262, 9999])
            | st.integers(0, 9999),
            st.integers(0, 13),
            st.integers(0, 32),
            st.integers(0, 23),
            st.integers(0, 59),
            st.integers(0, 59),
            st.integers(0, 999_999_999),
        ),
        min_size=1,
    ),
)
def test_texts_of_one_length_are_the_moments_that_each_is_beside_another_form(
    digits: int, drawn: list[tuple[int, ...]]
) -> None:
    """Such a column is read another way, which must not be seen."""
    texts = []
    for year, month, day, hour, minute, second, fraction in drawn:
        exact = f".{fraction:09}"[: digits + 1] if digits else ""
        texts.append(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{exact}Z")
    assert became([*texts, "2024-05-06"], "date")[:-1] == became(texts, "date")


def test_a_date_with_a_format_takes_that_format_only() -> None:
    access = {"type": "date", "format": "%d/%b/%Y:%H:%M:%S %z"}
    assert became(["06/May/2024:14:00:00 +0200", "2024-05-06T12:00:00Z"], access) == [NOON, None]
    assert [datetime(2024, 5, 6, tzinfo=UTC)] == became(
        ["06.05.2024"], {"type": "date", "format": "%d.%m.%Y"}
    )


@given(st.ip_addresses())
def test_every_address_is_an_ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    texts = [str(address)]
    if isinstance(address, ipaddress.IPv6Address):
        texts.append(address.exploded)
    assert texts == became(texts, "ip")


@given(st.text("0123456789abcdefF:.", max_size=24) | st.from_regex(r"([0-9a-f]{0,4}:){1,8}[0-9a-f]{0,4}"))
def test_a_text_is_an_ip_exactly_if_it_parses_as_one(text: str) -> None:
    try:
        ipaddress.ip_address(text)
        expected: str | None = text
    except ValueError:
        expected = None
    assert [expected] == became([text], "ip")


TEXTS = (
    st.text(max_size=6)
    | st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{1,3})?(e[0-9]{1,3})?\Z")
    | st.datetimes().map(lambda d: d.isoformat())
    | st.datetimes().map(lambda d: d.strftime("%Y-%m-%d"))
    | st.sampled_from(["true", "false", "2024", "2024-01", "2024-01-01T01:02:03+01:00", "10.0.0.1", "::"])
)
COLUMNS = st.one_of(
    st.lists(st.none() | TEXTS, min_size=1, max_size=8).map(lambda v: pl.Series("x", v, dtype=pl.String)),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8).map(
        lambda v: pl.Series("x", v, dtype=pl.Int64)
    ),
    st.lists(st.none() | st.floats(), min_size=1, max_size=8).map(
        lambda v: pl.Series("x", v, dtype=pl.Float64)
    ),
    st.lists(st.none() | st.booleans(), min_size=1, max_size=8).map(
        lambda v: pl.Series("x", v, dtype=pl.Boolean)
    ),
    st.lists(st.none() | st.lists(st.none() | TEXTS, max_size=3), min_size=1, max_size=8).map(
        lambda v: pl.Series("x", v, dtype=pl.List(pl.String))
    ),
)


@given(COLUMNS, st.sampled_from(list(FieldType)), st.booleans(), st.booleans())
def test_a_value_converts_alone_as_among_any_neighbours(
    column: pl.Series, kind: FieldType, array: bool, coerce: bool
) -> None:
    field = parse_field({"type": kind.value, "array": array})
    expression = cast("x", column.dtype, field, coerce=coerce)
    whole = column.to_frame().select(expression)
    alone = pl.concat([column.to_frame().slice(i, 1).select(expression) for i in range(len(column))])
    assert whole.to_dict(as_series=False).__repr__() == alone.to_dict(as_series=False).__repr__()
    assert len(column) == whole.height
    if kind is not FieldType.JSON:
        assert field.dtype == whole.schema["x"]


@given(st.sampled_from([t for t in FieldType if t is not FieldType.JSON]), COLUMNS, st.booleans())
def test_what_was_converted_converts_to_itself(kind: FieldType, column: pl.Series, coerce: bool) -> None:
    field = parse_field(kind.value)
    once = column.to_frame().select(cast("x", column.dtype, field, coerce=coerce))
    twice = once.select(cast("x", once.schema["x"], field, coerce=coerce))
    assert once.equals(twice)


def test_declarations_are_checked() -> None:
    assert FieldType.INTEGER is parse_field("long").kind
    assert parse_field("keyword[]").array
    with pytest.raises(ConfigError, match="did you mean 'keyword'"):
        parse_field("keywrd")
    with pytest.raises(ConfigError, match="not a field declaration"):
        parse_field({"type": "date", "fromat": "%Y"})
