"""One dead letter, and how it lies in its row: cut where it is endless, compressed where that saves."""

from __future__ import annotations

from typing import Any, Final

import cramjam
import msgspec

from headrace.model import Batch

ORIGINAL_BYTES: Final = 64 * 1024
"""Of a record's own bytes this much is kept; a 100 MB line must not fill the store."""

DETAIL_CHARACTERS: Final = 4_096
COMPRESS_FROM: Final = 256
"""Below this zstd's own frame eats what it saves."""

COLUMNS: Final = """letter.id, letter.pipeline, letter.partition, letter.record, ordinal, stage, reason,
detail, original, compressed, truncated, origin, position, time, batch"""
NAMES: Final = [name.strip().removeprefix("letter.") for name in COLUMNS.split(",")]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One rejected record; its key is (pipeline, partition, record, ordinal, stage).

    record:    number of the record in its partition
    original:  the record's own bytes, at most `ORIGINAL_BYTES`; None where they are not known
    truncated: `original` is only the beginning
    origin:    where people find it: a path, a topic
    position:  where in the origin, in words: "line 37", "offset 120"
    time:      unix time in seconds of the rejection
    batch:     correlates it with the log
    id:        given by the store, never used twice
    """

    pipeline: str
    partition: str
    record: int
    stage: str
    reason: str
    detail: str
    ordinal: int = 0
    original: bytes | None = None
    truncated: bool = False
    origin: str = ""
    position: str = ""
    time: float = 0.0
    batch: str = ""
    id: int = 0


def row(letter: DeadLetter) -> tuple[object, ...]:
    original = letter.original
    truncated = letter.truncated
    if original is not None and len(original) > ORIGINAL_BYTES:
        original, truncated = original[:ORIGINAL_BYTES], True
    compressed = original is not None and len(original) > COMPRESS_FROM
    return (
        letter.pipeline,
        letter.partition,
        letter.record,
        letter.ordinal,
        letter.stage,
        letter.reason,
        _storable(letter.detail),
        bytes(cramjam.zstd.compress(original)) if original is not None and compressed else original,
        compressed,
        truncated,
        _storable(letter.origin),
        _storable(letter.position),
        letter.time,
        letter.batch,
    )


def from_row(row: tuple[Any, ...]) -> DeadLetter:
    values = dict(zip(NAMES, row, strict=True))
    if values.pop("compressed"):
        values["original"] = bytes(cramjam.zstd.decompress(values["original"]))
    values["truncated"] = bool(values["truncated"])
    return DeadLetter(**values)


def _storable(text: str) -> str:
    """Valid UTF-8 and not endless: details quote bad data, and a path may hold any byte."""
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if len(valid) <= DETAIL_CHARACTERS else valid[: DETAIL_CHARACTERS - 1] + "…"


def read_again(batch: Batch) -> tuple[str, str, int] | None:
    """Pipeline, partition and number of a record whose letters, if there are any, were of a part of it."""
    raw = batch.raw
    return (batch.pipeline, raw.partition, raw.first_record) if raw.again else None


def letters(batch: Batch, now: float) -> list[DeadLetter]:
    """The dead letters of a batch's rejections."""
    return [
        DeadLetter(
            pipeline=batch.pipeline,
            partition=batch.raw.partition,
            record=rejection.record,
            ordinal=rejection.ordinal,
            stage=rejection.stage,
            reason=rejection.reason,
            detail=rejection.detail,
            original=rejection.original,
            origin=batch.raw.origin,
            position=f"record {rejection.record + 1}",
            time=now,
            batch=batch.id,
        )
        for rejection in batch.rejections
    ]
