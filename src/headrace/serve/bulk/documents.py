"""Documents as the door checks them: whole, an object, UTF-8; nothing is built of them here.

What fields mean is checked where they are decoded: a document that fails there becomes a dead letter, or,
where its outcome is waited for, an error of its item.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from headrace.ingest.formats.ndjson import half_of_pair
from headrace.serve.bulk.actions import Refusal, refused


class Object(msgspec.Struct):
    """Any JSON object: its members are passed over, but all of them are read."""


syntax: Final = msgspec.json.Decoder(Object).decode
"""Raises msgspec.MsgspecError, RecursionError, for what is no JSON object."""

FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_PLACE: Final = re.compile(r"\(byte (\d+)\)$")
_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

UPDATE: Final = ("doc", "doc_as_upsert", "detect_noop", "upsert", "_source", "script", "scripted_upsert")
SCRIPTS: Final = (
    "scripts are not supported; send the changed fields as [doc], with [upsert] or [doc_as_upsert] where the "
    "document may be missing, and [if_seq_no] with [if_primary_term] where it must be as you read it"
)


def check(document: bytes) -> Refusal | None:
    """What is wrong with a document."""
    try:
        if not document.isascii():
            document.decode()
        syntax(document)
    except FAULTS as error:
        return unreadable(error, document)
    return None


def unreadable(error: Exception, document: bytes) -> Refusal:
    """As Elasticsearch words what is no document."""
    cause = str(error)
    column = 1
    if not document.strip():
        cause = "the document is empty"
    elif isinstance(error, UnicodeDecodeError):
        cause, column = f"invalid UTF-8: {error.reason}", error.start + 1
    elif isinstance(error, RecursionError):
        cause = "it is nested too deeply"
    elif half := half_of_pair(document):
        cause, column = f"{half} is half of a character", document.index(half.encode()) + 1
    elif found := _PLACE.search(cause):
        column = int(found[1]) + 1
    kind = "not_x_content_exception" if isinstance(error, msgspec.ValidationError) else "json_parse_exception"
    reason = f"[1:{column}] failed to parse: {cause}"
    return Refusal(400, "document_parsing_exception", reason, (kind, cause))


def update(body: bytes, if_seq: int | None) -> tuple[str, bytes] | Refusal:
    """The body of an update as text, and what is indexed where the document is missing (empty: nothing)."""
    try:
        text = body.decode()
        given = _parts.decode(body)
        return _checked(given, if_seq) or (text.strip(), _upsert(given))
    except FAULTS as error:
        return unreadable(error, body)


def _checked(given: dict[str, msgspec.Raw], if_seq: int | None) -> Refusal | None:
    for name in given:
        if name not in UPDATE:
            known = ", ".join(name for name in UPDATE if "script" not in name)
            return refused(
                f"[UpdateRequest] unknown field [{name}]; have: {known}", "x_content_parse_exception"
            )
    if "script" in given or "scripted_upsert" in given:
        return refused(SCRIPTS)
    for name in ("doc", "upsert"):
        if _has(given, name):
            syntax(given[name])
    for name in ("doc_as_upsert", "detect_noop"):
        if name in given and bytes(given[name]).strip() not in (b"true", b"false"):
            return refused(f"[UpdateRequest] [{name}] must be true or false", "x_content_parse_exception")
    if "_source" in given and bytes(given["_source"]).strip() not in (b"false", b"null"):
        return refused("[_source] of an update is not answered; get the document after it")
    if not _has(given, "doc"):
        if _true(given, "doc_as_upsert"):
            return refused(
                "doc must be specified if doc_as_upsert is enabled", "action_request_validation_exception"
            )
        # An upsert alone is allowed: it creates, and changes nothing that is there.
        if not _has(given, "upsert"):
            return refused("script or doc is missing", "action_request_validation_exception")
    if if_seq is not None and _upsert(given):
        return refused("upsert requests don't support `if_seq_no` and `if_primary_term`")
    return None


def _has(given: dict[str, msgspec.Raw], name: str) -> bool:
    return name in given and bytes(given[name]).strip() != b"null"


def _true(given: dict[str, msgspec.Raw], name: str) -> bool:
    return name in given and bytes(given[name]).strip() == b"true"


def _upsert(given: dict[str, msgspec.Raw]) -> bytes:
    if _true(given, "doc_as_upsert"):
        return bytes(given["doc"]).strip()
    return bytes(given["upsert"]).strip() if _has(given, "upsert") else b""
