"""Dates of requests: formats, zones, date math."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.query.dates import Reading, span, to_micros
from headrace.index.query.formats import shown
from headrace.index.query.zones import time_zone

NOW = datetime(2024, 5, 15, 12, 30, 45, 678901, tzinfo=UTC)
MONTH_NAMES = "dd MMM yyyy"


def _at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _span(value: str | int, form: str | None = None, zone: str = "UTC") -> tuple[int, int]:
    return span("d", value, Reading(form, time_zone(zone), to_micros(NOW)))


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("now", "2024-05-15T12:30:45.678901", "2024-05-15T12:30:45.678901"),
        ("now-1d", "2024-05-14T12:30:45.678901", "2024-05-14T12:30:45.678901"),
        ("now-1d/d", "2024-05-14T00:00:00", "2024-05-14T23:59:59.999999"),
        ("now/M", "2024-05-01T00:00:00", "2024-05-31T23:59:59.999999"),
        ("now/w", "2024-05-13T00:00:00", "2024-05-19T23:59:59.999999"),
        ("now/y", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
        ("now/h+30m", "2024-05-15T12:30:00", "2024-05-15T13:29:59.999999"),
        ("now+M", "2024-06-15T12:30:45.678901", "2024-06-15T12:30:45.678901"),
        ("2024-01-31||+1M", "2024-02-29T00:00:00", "2024-02-29T00:00:00"),
        ("2024-01-01||+1M/d", "2024-02-01T00:00:00", "2024-02-01T23:59:59.999999"),
        ("2024-01||+1M", "2024-02-01T00:00:00", "2024-02-01T00:00:00"),
    ],
)
def test_date_math_rounds_down_and_up(value: str, first: str, last: str) -> None:
    """A rounded date is the span that `gte` begins and `lte` ends; every other one is an instant."""
    assert (_at(first), _at(last)) == _span(value)


@pytest.mark.parametrize(
    ("value", "form", "first"),
    [
        (1704067200000, "epoch_millis", "2024-01-01T00:00:00"),
        ("1704067200000", None, "2024-01-01T00:00:00"),
        ("1704067200", "epoch_second", "2024-01-01T00:00:00"),
        (1704067200.5, "epoch_second", "2024-01-01T00:00:00.5"),
        ("20240102", "basic_date", "2024-01-02T00:00:00"),
        ("20240102T030405.678Z", "basic_date_time", "2024-01-02T03:04:05.678"),
        ("2024-01-02 03:04:05", "yyyy-MM-dd HH:mm:ss", "2024-01-02T03:04:05"),
        ("2024-01-02 03:04:05", "epoch_millis||yyyy-MM-dd HH:mm:ss", "2024-01-02T03:04:05"),
        ("02/Jan/2024:03:04:05 +0100", "dd/MMM/yyyy:HH:mm:ss Z", "2024-01-02T02:04:05"),
        ("1/2/24 3:04 PM", "M/d/yy h:mm a", "2024-01-02T15:04:00"),
        ("2024-01-02T03:04:05+02:00", "strict_date_time_no_millis", "2024-01-02T01:04:05"),
        ("02 Jan 2024", MONTH_NAMES, "2024-01-02T00:00:00"),
        ("2024-01-02T03", "yyyy-MM-dd'T'HH[:mm]", "2024-01-02T03:00:00"),
        (2024, "yyyy", "2024-01-01T00:00:00"),
    ],
)
def test_formats_are_read(value: str | int, form: str | None, first: str) -> None:
    """Named formats, Java patterns, and several of them."""
    assert _at(first) == _span(value, form)[0]


def test_a_zone_moves_dates_without_one_and_rounding() -> None:
    """`time_zone` is for dates that say no zone, and for where a day begins."""
    assert _at("2024-05-14T22:00:00") == _span("2024-05-15", zone="Europe/Berlin")[0]
    assert _at("2024-05-15T00:00:00") == _span("2024-05-15T00:00:00Z", zone="Europe/Berlin")[0]
    assert (_at("2024-05-14T22:00:00"), _at("2024-05-15T21:59:59.999999")) == _span("now/d", zone="+02:00")


@pytest.mark.parametrize(
    ("value", "form", "says"),
    [
        ("yesterday", None, "not a date"),
        ("now-1x", None, "steps like"),
        ("now/2d", None, "steps like"),
        ("2024-01-02", "epoch_millis", "format [epoch_millis]"),
        ("2024-13-02", None, "month must be in"),
        ("2024-01-02", "julian_day", "unknown date format [julian_day]"),
        ("2024-01-02", "yyyy-QQ", "unknown date format [yyyy-QQ]"),
        ("2024" + "a" * 40 + "b", "yyyy" + "['a']" * 8, "not a date"),
        ("2024" + "a" * 40 + "b", "yyyy" + "['a']" * 40, "and 40 optional parts, at most 200 and 8"),
        ("2024", "yyyy" + "-" * 500, "has 504 characters and 0 optional parts"),
        ("1" * 5_000, None, "cannot take the value"),
        ("1" * 200_000 + "x", None, "not a date"),
    ],
)
def test_what_is_no_date_is_refused(value: str, form: str | None, says: str) -> None:
    """The answer names the value or the format, and what there is instead."""
    with pytest.raises(RequestError) as refused:
        _span(value, form)
    assert (400, True) == (refused.value.status, says in refused.value.reason)


def test_an_unknown_zone_is_refused() -> None:
    """With both spellings that there are."""
    with pytest.raises(RequestError, match="unknown time zone"):
        time_zone("Mars/Olympus")


FORMATS = st.sampled_from(
    [
        "strict_date_optional_time",
        "epoch_millis",
        "basic_date_time",
        "yyyy/MM/dd HH:mm:ss.SSSSSS xxx",
        "EEE, d MMM yyyy HH:mm:ss.SSS Z",
    ]
)


@given(st.integers(0, 4 * 10**12), FORMATS, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
def test_what_a_format_prints_it_reads_back(millis: int, form: str, zone: str) -> None:
    """A printed date is the same instant again, whatever the zone it was printed in."""
    where = UTC if zone == "UTC" else ZoneInfo(zone)
    text = shown(millis * 1000, form, where)
    assert (millis * 1000, millis * 1000) == span("d", text, Reading(form, UTC, 0))
