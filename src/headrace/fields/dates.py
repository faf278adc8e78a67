"""Moments from texts and numbers, in chrono's formats and those that Elasticsearch names.

A format is tried where those before it gave nothing. What an integer means is said by the formats too:
milliseconds, seconds, or a date's digits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import polars as pl

MOMENT: Final = pl.Datetime("us", "UTC")
ISO: Final = "iso"
EPOCHS: Final = {"epoch_millis": 1_000_000, "epoch_second": 1_000_000_000}
"""Nanoseconds of their unit."""

NAMED: Final = {
    "iso8601": ISO,
    "strict_date_optional_time": ISO,
    "date_optional_time": ISO,
    "strict_date_optional_time_nanos": ISO,
    "epoch_millis": "epoch_millis",
    "epoch_second": "epoch_second",
    "basic_date": "%Y%m%d",
    "basic_date_time": "%Y%m%dT%H%M%S%.f%#z",
    "basic_date_time_no_millis": "%Y%m%dT%H%M%S%#z",
    "date": "%Y-%m-%d",
    "strict_date": "%Y-%m-%d",
    "date_hour": "%Y-%m-%dT%H",
    "date_hour_minute": "%Y-%m-%dT%H:%M",
    "date_hour_minute_second": "%Y-%m-%dT%H:%M:%S",
    "strict_date_hour_minute_second": "%Y-%m-%dT%H:%M:%S",
    "date_time": "%Y-%m-%dT%H:%M:%S%.f%#z",
    "strict_date_time": "%Y-%m-%dT%H:%M:%S%.f%#z",
    "date_time_no_millis": "%Y-%m-%dT%H:%M:%S%#z",
    "strict_date_time_no_millis": "%Y-%m-%dT%H:%M:%S%#z",
}
"""Elasticsearch's names of formats, as they are read here."""

# Java's DateTimeFormatter letters, longest first, and chrono's specifiers.
_JAVA: Final = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d",
    "d": "%d", "DDD": "%j", "HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "a": "%p", "mm": "%M", "m": "%M",
    "ss": "%S", "s": "%S", "EEEE": "%A", "EEE": "%a", "E": "%a", "X" * 3: "%:z", "XX": "%z", "X": "%#z",
    "xxx": "%:z", "xx": "%z", "ZZZZZ": "%:z", "ZZ": "%z", "Z": "%z",
}  # fmt: skip

_JAVA_TOKEN: Final = re.compile(r"'((?:[^']|'')*)'|([.]?)(S+)|([A-Za-z])\4*|.", re.DOTALL)


@lru_cache(maxsize=256)
def layouts(formats: str) -> tuple[str, ...]:
    """`iso`, an epoch's name or a chrono format for each of `a||b`; ValueError names what is not known."""
    if "%" in formats:
        return (formats,)
    return tuple(_layout(each.strip()) for each in formats.split("||"))


def _layout(given: str) -> str:
    if given in NAMED:
        return NAMED[given]
    if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", given):
        raise ValueError(f"unknown format name [{given}]")
    return from_java(given)


def from_java(pattern: str) -> str:
    """A pattern of Java's DateTimeFormatter as chrono's; ValueError where chrono has nothing like it."""
    parts: list[str] = []
    for token in _JAVA_TOKEN.finditer(pattern):
        text = token[0]
        if token[1] is not None:
            parts.append((token[1] or "'").replace("''", "'").replace("%", "%%"))
        elif token[3]:
            parts.append(_fraction(token[2], len(token[3])))
        elif text.isascii() and text.isalpha():
            if text not in _JAVA:
                raise ValueError(f"[{text}] of the pattern [{pattern}]")
            parts.append(_JAVA[text])
        elif text in "[]{}#":
            raise ValueError(f"[{text}] of the pattern [{pattern}]")
        else:
            parts.append(text)
    return "".join(parts)


def _fraction(dot: str, digits: int) -> str:
    exact = str(digits) if digits in (3, 6, 9) else ""
    return f"%.{exact}f" if dot else f"%{digits if exact else ''}f"


_ISO_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?$"
)
_ISO_ZULU: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$"
_ZULU_LAYOUT: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
_ZULU_LAYOUTS: Final = {
    20: "%Y-%m-%dT%H:%M:%SZ",
    24: "%Y-%m-%dT%H:%M:%S.%3fZ",
    27: "%Y-%m-%dT%H:%M:%S.%6fZ",
    30: "%Y-%m-%dT%H:%M:%S.%9fZ",
}
"""By the bytes of a text: where all have the same, Polars parses them in a quarter of the time."""

_FROM, _BEFORE = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1678, 2262))
"""Between these microseconds lie the years that are inside the engine's range from end to end."""

_ISO_SHORT: Final = (
    r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ]([01][0-9]|2[0-3])(:[0-5][0-9])?"
    r"(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?)?)?)?$"
)
_ISO_START: Final = r"^([0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}(:[0-9]{2})?)?)?)?)"


def as_date(value: pl.Expr, dtype: pl.DataType, formats: str | None, *, coerce: bool) -> pl.Expr | None:
    """Values of any type as moments; None where no value of the type can be one."""
    if isinstance(dtype, pl.Date):
        return _at(value.to_physical(), 86_400_000_000_000)
    if isinstance(dtype, pl.Datetime):
        return _at(value.to_physical(), {"ns": 1, "us": 1_000, "ms": 1_000_000}[dtype.time_unit])
    if dtype.is_integer():
        return _from_integer(value, formats)
    if coerce and dtype.is_float():
        whole = _if(value.is_finite() & (value == value.floor()), value.cast(pl.Int64, strict=False))
        return _from_integer(whole, formats)
    if not isinstance(dtype, pl.String):
        return None
    if formats is None:
        return value.map_batches(_iso_moments, return_dtype=MOMENT)
    found = [_from_text(value, layout) for layout in layouts(formats)]
    return found[0] if len(found) == 1 else pl.coalesce(found)


def _from_integer(value: pl.Expr, formats: str | None) -> pl.Expr:
    """Milliseconds, unless the formats say seconds, or have digits only."""
    known = layouts(formats) if formats and "%" not in formats else ()
    for layout in known:
        if layout in EPOCHS:
            return _at(value, EPOCHS[layout])
    digits = [layout for layout in known if layout != ISO]
    if not digits:
        return _at(value, EPOCHS["epoch_millis"])
    return pl.coalesce([_from_text(value.cast(pl.String), layout) for layout in digits])


# What the parser wants beside what a format has: a specifier that is there, those that are not, the rest.
_REST: Final = (
    ("Y", "mbBhjDFcsxGVW+", ("-01", "-%m")),
    ("Y", "dejDFcsx+", ("-01", "-%d")),
    ("H", "MRTXrcs+", (":00", ":%M")),
)


def _from_text(text: pl.Expr, layout: str) -> pl.Expr:
    if layout == ISO:
        return text.map_batches(_iso_moments, return_dtype=MOMENT)
    if layout in EPOCHS:
        whole = _if(text.str.contains(r"^-?[0-9]{1,18}$"), text).cast(pl.Int64, strict=False)
        return _at(whole, EPOCHS[layout])
    for given, others, rest in _REST:
        if f"%{given}" not in layout or any(f"%{other}" in layout for other in others):
            continue
        text, layout = text + rest[0], layout + rest[1]
    return _at(_from_layout(text, layout).to_physical(), 1_000)


def _iso_moments(texts: pl.Series) -> pl.Series:
    """The moments of ISO texts, null where there is none within the engine's range.

    Most columns hold the one form that logs are written in, to the second or finer and with a Z: it is
    read in half the time, and in a fifth where all have the same length. Which way is taken changes no
    value: all read that form alike.
    """
    if texts.str.contains(_ISO_ZULU).all():
        layout = _ZULU_LAYOUT
        lengths = texts.str.len_bytes().unique().drop_nulls()
        if len(lengths) == 1:
            layout = _ZULU_LAYOUTS.get(lengths.item(), layout)
        moments = texts.str.to_datetime(layout, strict=False, time_unit="us", time_zone="UTC")
        if moments.to_physical().is_between(_FROM, _BEFORE, closed="left").all():
            return moments
    return texts.to_frame("text").select(_at(from_iso(pl.col("text")).to_physical(), 1_000)).to_series()


def _if(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(value)


def _at(count: pl.Expr, nanoseconds: int) -> pl.Expr:
    """The moment `count` units after 1970; null outside the engine's range, that of 64-bit nanoseconds.

    Wide numbers, for an overflow would wrap round to a plausible date; one chain without a branch, for
    the engine would compute `count` once per mention.
    """
    exact = (count.cast(pl.Int128) * nanoseconds).cast(pl.Int64, strict=False)
    return exact.floordiv(1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _from_layout(text: pl.Expr, layout: str) -> pl.Expr:
    zoned = any(mark in layout for mark in ("%z", "%:z", "%#z", "%+"))
    return text.str.to_datetime(
        layout, strict=False, exact=True, time_unit="us", time_zone="UTC" if zoned else None, ambiguous="null"
    )


def from_iso(text: pl.Expr) -> pl.Expr:
    """ISO 8601 as Elasticsearch's `strict_date_optional_time` reads it; no zone is UTC.

    One fixed layout, never inferred from the data: each text is first brought to the full form. The
    pattern guards what the parser would forgive (single digits, signs, spaces).
    """
    zoned = text.str.contains(r":[0-9]{2}.*(Z|[+-][0-9]{2}:?[0-9]{2})$")
    full = _if(text.str.contains(_ISO_TIME), pl.when(zoned).then(text).otherwise(text + "Z"))
    return (
        pl.coalesce(full, _lengthened(text))
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    )


def _lengthened(text: pl.Expr) -> pl.Expr:
    """`2024`, `2024-01`, `2024-01-02`, `2024-01-02T03`, `2024-01-02T03:04` and a zone, in the full form."""
    short = _if(text.str.contains(_ISO_SHORT), text)
    start = short.str.extract(_ISO_START, 1)
    zone = short.str.slice(start.str.len_bytes())
    zone = pl.when(zone == "").then(pl.lit("Z")).otherwise(zone)
    return start + pl.lit("0000-01-01 00:00:00").str.slice(start.str.len_bytes()) + zone
