"""The token of a write: which index, which buffer, up to which record; `after=` waits for it.

Comparable only with the position document of the very snapshot that is then searched (PROTOCOL 21).
"""

from __future__ import annotations

import base64

import msgspec

from headrace.buffer.base import partition_of
from headrace.core.errors import RequestError
from headrace.model import PartitionKey


class Token(msgspec.Struct, frozen=True, array_like=True):
    """Visible where the pipeline's committed position in this log is at least `record`."""

    index: str
    uuid: str
    pipeline: str
    incarnation: str
    log: str
    record: int

    @property
    def key(self) -> PartitionKey:
        return self.pipeline, partition_of(self.incarnation, self.log)


def encode(tokens: list[Token]) -> str:
    """One opaque text for all of them, as `Headrace-Token` carries it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(tokens)).rstrip(b"=").decode()


def decode(text: str) -> list[Token]:
    """Raises RequestError for what is no token of ours."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[Token])
    except (msgspec.DecodeError, ValueError) as error:
        reason = f"not a token: {text[:80]!r}; pass the Headrace-Token header of a write as it came"
        raise RequestError(400, "illegal_argument_exception", reason) from error
