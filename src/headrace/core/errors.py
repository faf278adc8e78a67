"""The errors of Headrace: one tree, three fates.

::

    HeadraceError
    ├── ConfigError      the settings cannot be used: exit code 2, before anything is touched
    ├── Retryable        try again later; `after` seconds at the earliest where the peer said so
    │   ├── TimedOut     no answer in the time that there was
    │   └── BreakerOpen  not asked at all: the dependency has failed too often, and is left alone
    ├── Fatal            this pipeline (or command) stops and says why; others go on
    │   └── StoreError   a file of ours is damaged, locked, or of an unknown format: left untouched
    ├── Rewound          the index rolled back: read again after `positions`
    └── RequestError     a request that cannot be answered as asked: an HTTP status, a type and a reason

    EndOfInput           not an error: a source has nothing more, for ever

A record that cannot be indexed is no exception but a value: `headrace.model.Rejection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.model import Position


class HeadraceError(Exception):
    """The root of all errors raised by Headrace on purpose."""


class ConfigError(HeadraceError):
    """The settings cannot be used. Says what, which and what next; the loader adds file and line.

    `path` leads to the offending value: relative to the component's own options when a component
    raises it, from the top of the file once the loader has passed it on. `passing` says that it is of a file
    that others write: who runs already tries again instead of giving up.
    """

    def __init__(
        self, message: str, *, path: tuple[str | int, ...] = (), where: str = "", passing: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.where = where
        self.passing = passing

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def inside(self, *prefix: str | int) -> ConfigError:
        """The same error, with `prefix` put before its path."""
        path = (*prefix, *self.path)
        return ConfigError(self.message, path=path, where=self.where, passing=self.passing)


class Retryable(HeadraceError):
    """The operation failed for now. `after` is the least wait in seconds, where the peer named one."""

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class TimedOut(Retryable):
    """No answer in the time that there was: a sign of a peer that has too much to do."""


class BreakerOpen(Retryable):
    """Refused by the breaker before anything was sent; says nothing new about the dependency."""


class Fatal(HeadraceError):
    """Nothing will help but a person: the pipeline stops, the process lives and reports why."""


class StoreError(Fatal):
    """A store of ours is damaged, in use by another process, or of a format this version does not know."""


class Rewound(HeadraceError):
    """The index rolled back to its last commit: every row written since is gone from it.

    `positions` maps (pipeline, partition) to the committed position to resume after; a partition that is
    missing resumes at its start. Raised to every pipeline that feeds the index. `disk_full` says that
    this was the cause: nothing will get better before there is space. `durable` is how far a power loss would
    go back, where that is less.
    """

    def __init__(
        self,
        message: str,
        positions: Mapping[tuple[str, str], Position],
        *,
        disk_full: bool = False,
        durable: Mapping[tuple[str, str], Position] | None = None,
    ) -> None:
        super().__init__(message)
        self.positions = positions
        self.durable = positions if durable is None else durable
        self.disk_full = disk_full


class RequestError(HeadraceError):
    """A request that cannot be answered as asked; becomes an Elasticsearch-shaped error body.

    `retry_after`: whole seconds until the same request may succeed; becomes that header.
    """

    def __init__(self, status: int, kind: str, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.status = status
        self.kind = kind
        self.reason = reason


class EndOfInput(Exception):
    """A source has delivered its last record and will never have another."""


def uncapitalized(message: str) -> str:
    """A library's message as a part of one of ours; one that begins with an abbreviation stays."""
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]
