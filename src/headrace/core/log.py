"""Log events, not prose: `event(log.warning, "index.write_retried", attempt=2)`.

Everything is logged through the standard library under `headrace.*`; only `configure`, called by the
command line, installs a handler. What `bind` holds (the batch's correlation id) is in every record.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

import msgspec

Style: TypeAlias = Literal["json", "text", "auto"]

_bound: ContextVar[Mapping[str, object]] = ContextVar("headrace-log-fields", default={})  # noqa: B039  never changed

RESERVED = frozenset({"time", "level", "logger", "event", "exception", "stack"})
"""Keys of a JSON line that are ours; a field of that name gets an underscore behind it."""

FOREIGN_EVENT = "log.message"
"""The event of records that other libraries wrote as prose."""

PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f]+")
"""Values that need no quotes in a text line; all others are quoted, so that none can fake a line."""


class Event:
    """What is logged: a name and its fields. As text, for a handler that is not ours: `name key=value`."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: Mapping[str, object]) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={_shown(value)}" for key, value in self.fields.items())])


def event(
    method_of_logger: Callable[..., None],
    name: str,
    *,
    exc_info: BaseException | bool | None = None,
    **fields: object,
) -> None:
    """Log `name` (dotted, past tense) with fields: `event(log.info, "file.opened", partition="a")`."""
    what = Event(name, {**_bound.get(), **fields})
    # Two levels up: the record names the caller's line, not this one.
    method_of_logger(what, exc_info=exc_info, stacklevel=2)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add fields to every record logged inside, also in tasks and worker threads started inside."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(style: Style = "auto", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Install the one handler of this process, in place of the last one installed here.

    `auto` is text on a terminal and JSON otherwise. `level` is that of `headrace.*`; other libraries are
    heard from WARNING on, or from DEBUG on if that is the level.
    """
    stream = sys.stderr if stream is None else stream
    handler = _Handler(stream)
    handler.setFormatter(_formatter(style, stream))
    root = logging.getLogger()
    for old in [other for other in root.handlers if isinstance(other, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if level.upper() == "DEBUG" else logging.WARNING)
    logging.getLogger("headrace").setLevel(level.upper())


class _Handler(logging.StreamHandler[TextIO]):
    """Known by its type, so that configuring twice does not write each line twice."""


def _formatter(style: Style, stream: TextIO) -> logging.Formatter:
    terminal = stream.isatty()
    if style == "text" or (style == "auto" and terminal):
        return TextFormatter(colour=terminal)
    return json_formatter()


class TextFormatter(logging.Formatter):
    """`12:34:56.789 WARNING index.write_retried attempt=2`: one line each, in local time."""

    COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}  # noqa: RUF012

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        time = moment.isoformat(sep=" ", timespec="milliseconds")[11:23]
        name, fields = _told(record)
        level = f"{record.levelname:<7}"
        if self._colour and record.levelname in self.COLOURS:
            level = f"\x1b[{self.COLOURS[record.levelname]}m{level}\x1b[0m"
        lines = [f"{time} {level} {Event(name, fields)}"]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        if record.stack_info:
            lines.append(self.formatStack(record.stack_info))
        return "\n".join(lines)


def json_formatter() -> logging.Formatter:
    """One JSON object a line: time (RFC 3339, UTC, milliseconds), level, logger, event, then the fields."""
    # Imported here, so that a program that embeds Headrace does not pay for it.
    from pythonjsonlogger.msgspec import MsgspecFormatter

    class JsonFormatter(MsgspecFormatter):
        def add_fields(
            self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
        ) -> None:
            log_data.update(_line(record))
            for key, found in (("exception", "exc_info"), ("stack", "stack_info")):
                if message_dict.get(found):
                    log_data[key] = message_dict[found]

    return JsonFormatter(json_default=str)


def _line(record: logging.LogRecord) -> dict[str, object]:
    name, fields = _told(record)
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": moment.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": name,
        **{f"{key}_" if key in RESERVED else key: value for key, value in fields.items()},
    }


def _told(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """Event and fields of a record, whoever wrote it."""
    if isinstance(record.msg, Event):
        return record.msg.name, record.msg.fields
    return FOREIGN_EVENT, {**_bound.get(), "message": record.getMessage()}


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()
