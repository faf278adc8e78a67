"""Texts of records that no step changed: their `_source` is what was sent, byte for byte.

Which row is untouched is found out, not noted down: its values are compared with those that were decoded, so
no step need know. What is decided of a row depends on its record alone, never on its neighbours in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.core.lines import lines_of
from headrace.fields import named, without
from headrace.index.tantivy.jsontext import object_text, plain, without_null_members
from headrace.model import RECORD, Decoded, Texts

_BLANKS: Final = " \t\r"
_NULL: Final = r'^(?:[^"n]|"(?:[^"\\]|\\.)*")*null'
"""A null that is no part of a text: outside of texts, no other word of JSON has an n before a null."""

_MINUS_NOUGHT: Final = r":[ \t]*-0[ \t]*[,}]"
"""An integer to the decoder and a float to the engine, which refuses it where it wants an integer."""

COMPARED_LEVELS: Final = 12
"""Values nested deeper are taken for changed, and so written again."""

Found = tuple[pl.DataFrame, Texts, "pl.Series | None"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Beside a frame's rows: `texts` as sent, null where a row cannot keep its own.

    added: columns that the texts lack
    plain: the engine reads the texts as the rows written by us
    """

    texts: pl.Series
    added: pl.DataFrame
    plain: bool


class Originals:
    """What the frames of one batch were before the transforms; nothing is kept where that is unknown."""

    def __init__(self, decoded: Decoded | None = None) -> None:
        texts = decoded.texts if decoded else ()
        self._known = list(zip(decoded.frames, texts, strict=True)) if decoded and texts else []

    def kept(self, records: pl.Series, user: pl.DataFrame) -> Kept | None:
        """The texts of the rows of these records; `user`: their columns, the hidden ones left out."""
        found = self._of(records)
        if found is None:
            return None
        decoded, texts, places = found
        before = without(decoded, RECORD)
        if texts.canonical and _is_cheaper_written(before, user):
            return None
        lines = lines_of(texts.lines)
        if len(lines) != decoded.height or not before.width:
            return None
        if places is not None:
            lines, before = lines.gather(places), before[places]
        lines = _unblanked(lines)
        unfit = _unfit(lines, before, user)
        if unfit is not None:
            if unfit.all():
                return None
            lines = pl.select(pl.when(~unfit).then(lines)).to_series()
        added = user.select(named(name) for name in user.columns if name not in before.columns)
        return Kept(lines, added, texts.canonical or not _says_minus_nought(lines, before))

    def _of(self, records: pl.Series) -> Found | None:
        """The decoded frame that rows came from, its texts, and their places in it; None for all of it."""
        for decoded, texts in self._known:
            known = decoded[RECORD]
            if len(known) == len(records) and (known == records).all():
                return decoded, texts, None
            if not len(known) or not known.is_sorted():
                continue
            places = known.search_sorted(records).clip(0, len(known) - 1)
            if (known.gather(places) == records).all():
                return decoded, texts, places
        return None


def source_text(user: pl.DataFrame, height: int, kept: Kept | None) -> pl.Series:
    """Each row as a JSON object: as it was sent where it is kept, with what was added at its end."""
    if kept is None:
        return without_null_members(object_text(user, height))
    texts = _with_fields(kept.texts, kept.added)
    if not texts.null_count():
        return texts
    places = texts.is_null().arg_true()
    return texts.scatter(places, without_null_members(object_text(user[places], len(places))))


def _with_fields(texts: pl.Series, added: pl.DataFrame) -> pl.Series:
    """JSON objects, none of them empty, with fields added at their ends."""
    if not added.width:
        return texts
    frame = pl.DataFrame({"text": texts, "fields": object_text(added, added.height)})
    text, fields = pl.col("text"), pl.col("fields")
    longer = pl.concat_str([text.str.strip_suffix("}"), pl.lit(","), fields.str.strip_prefix("{")])
    if all(added[name].null_count() for name in added.columns):
        longer = pl.when(fields == "{}").then(text).otherwise(longer)
    return frame.select(longer.alias("text")).to_series()


def _is_cheaper_written(before: pl.DataFrame, after: pl.DataFrame) -> bool:
    """Whether writing the rows gives canonical texts as well, and with less work than looking them up."""
    return after.columns[: before.width] == before.columns and (
        after.width > before.width
        or any(type(one) is not type(other) for one, other in zip(before.dtypes, after.dtypes, strict=True))
    )


def _says_minus_nought(lines: pl.Series, before: pl.DataFrame) -> bool:
    integers = (before[name] for name, dtype in before.schema.items() if dtype.is_integer())
    return any((values == 0).any() for values in integers) and lines.str.contains(_MINUS_NOUGHT).any()


def _unblanked(lines: pl.Series) -> pl.Series:
    if lines.str.starts_with("{").all() and lines.str.ends_with("}").all():
        return lines
    return lines.str.strip_chars(_BLANKS)


def _unfit(lines: pl.Series, before: pl.DataFrame, after: pl.DataFrame) -> pl.Series | None:
    """Rows that cannot keep their texts: changed, without any value, or with a null, which is left out."""
    reasons = [*_changes(before, after)]
    null = lines.str.contains("null", literal=True)
    if null.any():
        places = null.arg_true()
        reasons.append(null.scatter(places, lines.gather(places).str.contains(_NULL)))
    if all(before[name].null_count() for name in before.columns):
        reasons.append(before.select(pl.all_horizontal(pl.all().is_null())).to_series())
    reasons = [where for where in reasons if where.any()]
    if not reasons:
        return None
    unfit = reasons[0]
    for where in reasons[1:]:
        unfit = unfit | where
    return unfit


def _changes(before: pl.DataFrame, after: pl.DataFrame) -> list[pl.Series]:
    """Per column, where the value is not what was decoded."""
    found = []
    for name in before.columns:
        old = before[name]
        if name not in after.columns:
            found.append(old.is_not_null())
            continue
        new = after[name]
        if type(new.dtype) is not type(old.dtype):
            new = after.select(plain(named(name), new.dtype).alias(name)).to_series()
        if is_deep(old.dtype) or is_deep(new.dtype):
            found.append(old.is_not_null() | new.is_not_null())
        elif not new.equals(old, check_dtypes=True):
            found.append(new.ne_missing(old) if _alike(new, old) else old.is_not_null() | new.is_not_null())
    return found


def is_deep(dtype: pl.DataType) -> bool:
    """Whether values are nested so deep that to walk them takes for ever: twice as long with each level."""
    inside = [dtype]
    for _ in range(COMPARED_LEVELS):
        inside = [part for each in inside for part in _parts(each)]
    return bool(inside)


def _parts(dtype: pl.DataType) -> list[pl.DataType]:
    if isinstance(dtype, pl.Struct):
        return [field.dtype for field in dtype.fields if isinstance(field.dtype, pl.DataType)]
    inner = getattr(dtype, "inner", None)
    return [inner] if isinstance(inner, pl.DataType) else []


def _alike(one: pl.Series, other: pl.Series) -> bool:
    try:
        return one.dtype == other.dtype
    except RecursionError:  # types of values nested deeper than the engine reads
        return False
