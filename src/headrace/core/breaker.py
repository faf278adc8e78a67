"""A breaker: after enough failures a dependency is left alone for a while, then tried by one probe.

Only `Retryable` is a failure: a cancellation, a timeout of the caller's own, a bug or a bad request say
nothing about the dependency. Our interface over interlock-cb, so that it can be replaced.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar

import interlock

from headrace.core.clock import Clock
from headrace.core.errors import BreakerOpen, Retryable

T = TypeVar("T")

Force: TypeAlias = Literal["open", "closed"]


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


OnChange = Callable[[str, str], None]
"""Called with the breaker's name and its new state."""

PROBE_WAIT = 1.0
"""Seconds to wait while another caller's probe is out, or the breaker is forced open: no end is known."""

STATES = {
    interlock.State.CLOSED: State.CLOSED,
    interlock.State.OPEN: State.OPEN,
    interlock.State.HALF_OPEN: State.HALF_OPEN,
    interlock.State.FORCED_OPEN: State.OPEN,
    interlock.State.DISABLED: State.CLOSED,
    interlock.State.METRICS_ONLY: State.CLOSED,
}

FORCED: dict[interlock.State, Force] = {
    interlock.State.FORCED_OPEN: "open",
    interlock.State.DISABLED: "closed",
}


class Breaker:
    """One per dependency, shared by all who call it.

    failures:  it opens when at least this many of the last `window` calls were made and half failed
    open_for:  seconds until a probe; doubled after each failed probe, up to `open_at_most`
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        failures: int = 5,
        window: int = 20,
        open_for: float = 5.0,
        open_at_most: float = 60.0,
        on_change: OnChange | None = None,
    ) -> None:
        self.name = name
        config = interlock.Config(
            minimum_number_of_calls=failures,
            window_size=max(window, failures),
            # A slow call is the timeout's business, not ours.
            slow_call_duration_threshold=math.inf,
            # One success closes it again, and one caller at a time may find out.
            permitted_calls_in_half_open=1,
            max_concurrent_probes=1,
            wait_duration_in_open=open_for,
            wait_duration_backoff_multiplier=2.0,
            wait_duration_in_open_max=max(open_at_most, open_for),
        )
        self._inner = interlock.CircuitBreaker(
            name=name, config=config, clock=clock, classifier=_Classifier(), listener=_Listener(on_change)
        )

    @property
    def state(self) -> State:
        return STATES[self._inner.state]

    @property
    def forced(self) -> Force | None:
        """What an operator holds it to, if one does."""
        return FORCED.get(self._inner.state)

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        """Call it, or raise BreakerOpen at once while open, with the time that is left as `after`."""
        try:
            return await self._inner.call_async(fn)
        except interlock.CircuitOpenError as error:
            raise self._refusal(error) from error.last_failure

    def call_sync(self, fn: Callable[[], T]) -> T:
        """`call` for plain functions, from any thread."""
        try:
            return self._inner.call_sync(fn)
        except interlock.CircuitOpenError as error:
            raise self._refusal(error) from error.last_failure

    def _refusal(self, error: interlock.CircuitOpenError) -> BreakerOpen:
        after = PROBE_WAIT if error.retry_after is None else error.retry_after
        held = ", held so by an operator" if self.forced == "open" else ""
        return BreakerOpen(f"{self.name}: breaker open{held}", after=after)

    def force(self, state: Force | None) -> None:
        """Hold it open or closed whatever happens; None lets it decide again, starting from closed."""
        if state == "open":
            self._inner.force_open()
        elif state == "closed":
            self._inner.disable()
        else:
            self._inner.reset()


class _Classifier:
    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        del result
        return isinstance(exception, Retryable)


class _Listener(interlock.CoreEventListener):
    """Tells changes in our three states only: closed and forced closed are the same to those who watch."""

    def __init__(self, on_change: OnChange | None) -> None:
        self._on_change = on_change

    def on_state_change(self, *, name: str, old: interlock.State, new: interlock.State) -> None:
        if self._on_change is not None and STATES[old] is not STATES[new]:
            self._on_change(name, STATES[new])
