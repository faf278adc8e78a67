"""Where a pull stands: what `Position.state` holds for one partition."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from headrace.ingest.formats.base import CsvLayout

Cursor: TypeAlias = str | int | float | None
"""What asks for a page: its number, an offset, a cursor, a URL; None is the first."""

TAIL: Final = 8
"""Records whose hashes are kept to find the place again when pages have shifted: some may be deleted."""


class Validators(msgspec.Struct, frozen=True, kw_only=True):
    """ETag and Last-Modified of the answer to one request; `of` says which."""

    of: str = ""
    etag: str = ""
    modified: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Resume after what was delivered.

    query:  digest of the options that say which log this is; another one is another log
    page:   what to ask for: page number (the last one read), offset, cursor or URL; None: the first
    count:  records of that page that are delivered; of an offset: how many an answer has held at most
    tail:   hashes of the last records delivered, newest last
    asked, digest: the last request that gave records, and what it gave: a repetition is a loop
    since, high: of a watermark: what this pull asks for, and the highest value seen
    pages:  of this pull
    ended:  this pull has read its last page
    """

    query: str
    page: Cursor = None
    count: int = 0
    tail: tuple[str, ...] = ()
    asked: Cursor = None
    digest: str = ""
    since: str | int | float | None = None
    high: str | int | float | None = None
    validators: Validators = Validators()
    pages: int = 0
    ended: bool = False
    layout: CsvLayout | None = None

    def to_state(self) -> dict[str, Any]:
        state: dict[str, Any] = msgspec.to_builtins(self)
        return state


def from_state(state: Mapping[str, Any]) -> Place | None:
    """The place kept in a position, None if it is not one of ours."""
    try:
        return msgspec.convert(state, Place)
    except msgspec.ValidationError:
        return None


def fingerprint(record: bytes) -> str:
    return blake2b(record, digest_size=6).hexdigest()


def digest(value: object) -> str:
    """A short digest of any JSON value, the same everywhere and for ever."""
    text = msgspec.json.encode(value, enc_hook=str, order="deterministic")
    return blake2b(text, digest_size=12).hexdigest()


def first_unread(records: list[bytes], known: int | None, tail: tuple[str, ...]) -> int | None:
    """Index of the first record after those delivered; None where none of the last ones is found.

    `known` records in front should be delivered ones (None or 0: nothing overlaps). If the last of them are
    not what they were, pages have shifted: go on after the newest that is found, at its first place,
    so that a mistake repeats a record and never skips one.
    """
    if not known or not tail:
        return 0
    before = [fingerprint(record) for record in records[max(0, known - len(tail)) : known]]
    if len(records) >= known and before and before == list(tail[-len(before) :]):
        return known
    hashes = [fingerprint(record) for record in records]
    for last in reversed(tail):
        if last in hashes:
            return hashes.index(last) + 1
    return None
