"""Commits held for somebody who comes again: scrolls and points in time, each for a bounded time.

A held commit keeps the files of its segments on disk although they were merged away, so there is a limit to
how many different ones are held, beside the limit to the leases.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.core.clock import Clock
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.serve.doors.principal import allowed, require
from headrace.serve.hits import Shown
from headrace.serve.searches import Part

MOST: Final = 500
"""Leases at once: as many as Elasticsearch allows by default, for the same reason: forgotten ones."""

MOST_COMMITS: Final = 256
"""Different commits held at once; each may keep up to a whole index's files from being freed."""

LONGEST_SECONDS: Final = 24 * 3600.0


@dataclass(slots=True)
class Lease:
    """Indexes at their commits; of a scroll also what goes on, and from where."""

    id: str
    parts: Sequence[Part]
    keep_alive: float
    expires: float
    created: float
    request: SearchRequest | None = None
    shown: Shown | None = None
    total: int = 0


class Leases:
    """All leases of a server. Used on its event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, Lease] = {}
        self._timer: asyncio.TimerHandle | None = None

    def hold(
        self,
        parts: Sequence[Part],
        keep_alive: float,
        *,
        request: SearchRequest | None = None,
        shown: Shown | None = None,
    ) -> Lease:
        """Raises RequestError 429 where too much is held, 400 for too long a time."""
        self._check_time(keep_alive)
        self.release_expired()
        if len(self._held) >= MOST:
            _full(f"{MOST} scrolls and points in time are open")
        commits = {id(part.view) for lease in self._held.values() for part in lease.parts}
        if len(commits | {id(part.view) for part in parts}) > MOST_COMMITS:
            _full(f"{MOST_COMMITS} different commits are held by scrolls and points in time")
        now = self._clock.monotonic()
        name = secrets.token_urlsafe(24)
        lease = Lease(name, parts, keep_alive, now + keep_alive, self._clock.time(), request, shown)
        self._held[name] = lease
        self._arm()
        return lease

    def find(self, name: str, keep_alive: float | None = None, *, scroll: bool) -> Lease:
        """The lease, its time begun again. Raises RequestError 404 for one that is not there any more."""
        self.release_expired()
        lease = self._held.get(name)
        if lease is None or scroll != (lease.request is not None):
            reason = f"No search context found for id [{name[:80]}]"
            raise RequestError(404, "search_context_missing_exception", reason)
        for part in lease.parts:
            require(part.name)
        if keep_alive is not None:
            self._check_time(keep_alive)
            lease.keep_alive = keep_alive
        lease.expires = self._clock.monotonic() + lease.keep_alive
        return lease

    def release(self, names: Collection[str], *, scroll: bool) -> list[str]:
        """Those that were there."""
        self.release_expired()
        found = [
            name
            for name in dict.fromkeys(names)
            if name in self._held
            and scroll == (self._held[name].request is not None)
            and _is_allowed(self._held[name])
        ]
        for name in found:
            del self._held[name]
        return found

    def all(self, *, scroll: bool) -> list[Lease]:
        self.release_expired()
        held = [lease for lease in self._held.values() if scroll == (lease.request is not None)]
        return [lease for lease in held if _is_allowed(lease)]

    def release_expired(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, lease in self._held.items() if lease.expires <= now]:
            del self._held[name]

    def _check_time(self, keep_alive: float) -> None:
        if not 0 < keep_alive <= LONGEST_SECONDS:
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"Keep alive for request ({keep_alive:g}s) must be more than 0 and at most 24h",
            )

    def _arm(self) -> None:
        """Release what expires even if nobody asks for anything any more."""
        if self._timer is not None or not self._held:
            return
        due = min(lease.expires for lease in self._held.values()) - self._clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(due, 0.0) + 0.1, self._due)

    def _due(self) -> None:
        self._timer = None
        self.release_expired()
        self._arm()


def _is_allowed(lease: Lease) -> bool:
    return all(allowed(part.name) for part in lease.parts)


def _full(what: str) -> None:
    reason = f"{what}; clear those that are done, or wait for them to expire"
    raise RequestError(429, "es_rejected_execution_exception", reason, retry_after=5)
