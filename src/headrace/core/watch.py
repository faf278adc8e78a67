"""A breaker that tells how it is: in metrics, in readiness, as log events, and to those who ask.

An open breaker degrades the service and never fails it; while it is closed it is no component of the
readiness at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from headrace.core import health as healths
from headrace.core.breaker import Breaker, Force, State
from headrace.core.clock import Clock
from headrace.core.errors import Retryable
from headrace.core.health import Health
from headrace.core.log import event
from headrace.core.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")


class BreakerStatus(msgspec.Struct, frozen=True):
    """One breaker as `GET /api/breakers` shows it.

    since:         unix time of the last change of state
    retry_in:      seconds until the next caller may probe; null unless it is open by itself
    concurrency:   calls at once that the peer gets from worker threads
    retries_left:  what is left of the retry budget
    """

    name: str
    state: str
    forced: str | None
    since: float
    retry_in: float | None
    last_error: str
    concurrency: int
    retries_left: int


class WatchedBreaker:
    """A `Breaker` and its publicity; any thread may call."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        *,
        failures: int,
        open_for: float,
        open_at_most: float,
    ) -> None:
        self.name = name
        self.last_error = ""
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._first_wait = self._wait = open_for
        self._longest_wait = open_at_most
        self._lock = threading.Lock()
        self._shown: tuple[State, Force | None] = (State.CLOSED, None)
        self._probed = False
        self._since = clock.time()
        self._opened = self._trouble_since = clock.monotonic()
        self._inner = Breaker(
            name,
            clock,
            failures=failures,
            open_for=open_for,
            open_at_most=open_at_most,
            on_change=lambda _, state: self._changed(State(state)),
        )
        metrics.set_breaker(name, State.CLOSED)

    @property
    def state(self) -> State:
        return self._inner.state

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        return await self._inner.call(fn)

    def call_sync(self, fn: Callable[[], T]) -> T:
        return self._inner.call_sync(fn)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Remember the last failure, for those who ask why it is open."""
        try:
            yield
        except Retryable as error:
            self.last_error = str(error)
            raise

    def force(self, state: Force | None) -> None:
        """Hold it open or closed whatever happens; None lets it decide again, starting from closed."""
        self._inner.force(state)
        event(log.warning, "breaker.forced", dependency=self.name, force=state or "no")
        self._publish()

    def status(self, *, concurrency: int, retries_left: int) -> BreakerStatus:
        state, forced = self._inner.state, self._inner.forced
        alone = state is State.OPEN and forced is None
        left = max(0.0, self._opened + self._wait - self._clock.monotonic())
        return BreakerStatus(
            name=self.name,
            state=state,
            forced=forced,
            since=self._since,
            retry_in=left if alone else None,
            last_error=self.last_error,
            concurrency=concurrency,
            retries_left=retries_left,
        )

    def _changed(self, state: State) -> None:
        with self._lock:
            if state is State.OPEN:
                doubled = min(2 * self._wait, self._longest_wait)
                self._wait = doubled if self._probed else self._first_wait
                self._opened = self._clock.monotonic()
                self._trouble_since = self._trouble_since if self._probed else self._opened
            self._probed = state is State.HALF_OPEN
        self._publish()

    def _publish(self) -> None:
        """Show how it is *now*: of two changes at once the later one is shown last, whoever tells."""
        with self._lock:
            now = (self._inner.state, self._inner.forced)
            before, self._shown = self._shown, now
            if now == before:
                return
            if now[0] is not before[0]:
                self._metrics.set_breaker(self.name, now[0])
                self._log(now[0])
                self._since = self._clock.time()
            self._show(*now)

    def _log(self, state: State) -> None:
        if state is State.OPEN:
            wait = round(self._wait, 3)
            event(log.warning, "breaker.opened", dependency=self.name, wait_s=wait, error=self.last_error)
        elif state is State.HALF_OPEN:
            event(log.info, "breaker.half_opened", dependency=self.name)
        else:
            lasted = round(self._clock.monotonic() - self._trouble_since, 3)
            event(log.info, "breaker.closed", dependency=self.name, lasted_s=lasted)

    def _show(self, state: State, forced: Force | None) -> None:
        component = f"breaker:{self.name}"
        if forced is not None:
            held = healths.State.DEGRADED if forced == "open" else healths.State.READY
            self._health.set(component, held, f"held {forced} by an operator")
        elif state is State.CLOSED:
            self._health.remove(component)
        else:
            how = "being probed" if state is State.HALF_OPEN else "left alone, probed from time to time"
            self._health.set(component, healths.State.DEGRADED, f"{how}: {self.last_error}")
