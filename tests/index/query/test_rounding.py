"""Buckets of date histograms against a model that walks the local calendar."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from headrace.index.query.dates import to_micros
from headrace.index.query.rounding import Rounding
from headrace.index.query.zones import local

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
)
MOMENTS = st.integers(
    to_micros(datetime(1995, 1, 1, tzinfo=UTC)), to_micros(datetime(2030, 1, 1, tzinfo=UTC))
)


def _starts(zone: ZoneInfo, unit: str) -> list[int]:
    """All beginnings of a unit from 1990 to 2032: the first minute of each local period, found by walking."""
    found = []
    day = datetime(1990, 1, 1)  # noqa: DTZ001 (a wall clock)
    while day.year < 2032:
        opens = {
            "d": True,
            "w": day.weekday() == 0,
            "M": day.day == 1,
            "q": day.day == 1 and day.month in (1, 4, 7, 10),
            "y": day.day == 1 and day.month == 1,
        }[unit]
        if opens:
            found.append(_first(zone, day))
        day += timedelta(days=1)
    return found


def _first(zone: ZoneInfo, day: datetime) -> int:
    """The first instant whose local date is this one."""
    moment = day.replace(tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(zone).date() < day.date():
        moment += timedelta(minutes=30)
    return to_micros(moment)


STARTS = {(name, unit): _starts(ZoneInfo(name), unit) for name in ZONES for unit in "dwMqy"}


@given(st.sampled_from(ZONES), st.sampled_from("dwMqy"), MOMENTS)
def test_a_calendar_bucket_begins_at_the_first_instant_of_its_local_day(
    name: str, unit: str, at: int
) -> None:
    """The bucket and the next one are those of a plain list of all beginnings."""
    starts = STARTS[name, unit]
    place = bisect_right(starts, at) - 1
    rounding = Rounding(unit, zone=ZoneInfo(name))
    assert starts[place] == rounding.floor(at)
    assert starts[place + 1] == rounding.following(rounding.floor(at))


@given(
    st.sampled_from(ZONES),
    st.sampled_from(
        [("h", 0), ("m", 0), (None, 5_400_000_000), (None, 43_200_000_000), (None, 86_400_000_000)]
    ),
    MOMENTS,
    st.sampled_from([0, 3_600_000_000, -1_800_000_000]),
)
def test_buckets_follow_each_other_without_gaps(
    name: str, length: tuple[str | None, int], at: int, offset: int
) -> None:
    """An instant's bucket begins at or before it, ends after it, and begins where it says."""
    rounding = Rounding(*length, zone=ZoneInfo(name), offset=offset)
    start = rounding.floor(at)
    assert start <= at < rounding.following(start)
    assert start == rounding.floor(start)


def test_the_hour_that_the_clock_shows_twice_is_two_buckets() -> None:
    """02:30 summer time and 02:30 winter time are an hour apart, and in buckets an hour apart."""
    berlin = ZoneInfo("Europe/Berlin")
    first = to_micros(datetime(2024, 10, 27, 0, 30, tzinfo=UTC))
    second = first + 3_600_000_000
    assert local(berlin, first) == local(berlin, second)
    rounding = Rounding("h", zone=berlin)
    assert rounding.floor(first) + 3_600_000_000 == rounding.floor(second)


@given(st.sampled_from([("d", 0), ("w", 0), ("h", 0), (None, 90_000_000)]), MOMENTS, st.integers(-5, 5))
def test_equal_buckets_are_told_apart_from_others(
    length: tuple[str | None, int], at: int, hours: int
) -> None:
    """What `fixed` says of interval and shift is what rounding does."""
    rounding = Rounding(*length, offset=hours * 3_600_000_000)
    fixed = rounding.fixed()
    assert fixed is not None
    assert at - (at - fixed[1]) % fixed[0] == rounding.floor(at)
