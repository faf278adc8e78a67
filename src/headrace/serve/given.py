"""What any request may say of its form: switches and times of the URL, the version that its headers ask for.

A wrong value is refused before anything is done, as Elasticsearch does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from headrace.core.errors import RequestError

SWITCHES: Final = ("pretty", "human", "error_trace")
TIMES: Final = ("timeout", "master_timeout", "search_timeout", "wait_for_timeout")
VERSIONS: Final = frozenset({"7", "8", "9"})

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(nanos|micros|ms|s|m|h|d)")
_UNITS: Final = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_VERSION: Final = re.compile(r'vnd\.elasticsearch\+[^,]*;\s*compatible-with\s*=\s*"?([^,;"\s]*)')


def check_form(request: Request) -> None:
    """Raises RequestError."""
    given = request.query_params
    for name in SWITCHES:
        if given.get(name, "true") not in ("", "true", "false"):
            _fail(f"Failed to parse value [{given[name]}] of [{name}] as only [true] or [false] are allowed.")
    for name in ("accept", "content-type"):
        header = request.headers.get(name, "")
        for version in _VERSION.findall(header) if "compatible-with" in header else ():
            if version not in VERSIONS:
                title = name.title()
                reason = (
                    f"Invalid media-type value on headers [{title}]: {title} version must be 7, 8 or 9, "
                    f"but found {version}. {title}={header}"
                )
                raise RequestError(400, "media_type_header_exception", reason)


def check_format(given: Mapping[str, str]) -> None:
    """JSON goes in and out, tables as text too; other forms are refused instead of being given as JSON."""
    form, source = given.get("format", "json"), given.get("source_content_type", "application/json")
    if form not in ("json", "text", ""):
        reason = f"[format] is json, or text of tables, found [{form}]"
        raise RequestError(406, "media_type_header_exception", reason)
    if "json" not in source:
        _fail(f"[source_content_type] is application/json, found [{source}]")


def check_times(given: Mapping[str, str]) -> None:
    """Raises RequestError."""
    for name in TIMES:
        if name in given:
            seconds(given[name], name)


def seconds(text: str, name: str) -> float:
    """`30s`, `1m`, `500ms`; -1 is for ever. Raises RequestError."""
    if text == "-1":
        return float("inf")
    match = _TIME.fullmatch(text.strip())
    if match is None and text.strip() != "0":
        _fail(
            f"failed to parse setting [{name}] with value [{text}] as a time value: unit is missing or "
            "unrecognized; write a number and its unit, such as 500ms, 30s or 1m"
        )
    return float(match[1]) * _UNITS[match[2]] if match else 0.0


def _fail(reason: str) -> None:
    raise RequestError(400, "illegal_argument_exception", reason)
