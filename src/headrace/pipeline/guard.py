"""One guard round every component call: time-out, classified retry with jitter, breaker, metrics, log.

Components raise `Retryable` or `Fatal`; whatever else comes out of one is a fault of its code and becomes
`Fatal` here, with the traceback in the log. Cancellation and `EndOfInput` pass untouched. The breaker
covers opening as well as using, for all who call the dependency.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import anyio

from headrace.core.breaker import State
from headrace.core.clock import Clock
from headrace.core.dependency import Dependency
from headrace.core.errors import EndOfInput, Fatal, HeadraceError, TimedOut
from headrace.core.log import event
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy, backoff, retrying

__all__ = ["Guard", "backoff"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBE_SECONDS: Final = 1.0
"""A peer that lets us wait this long without an error is there; longer would keep the breaker half-open."""


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What a call answered, to tell it from a call that only waits."""

    value: T


@dataclass(frozen=True, slots=True)
class Guard:
    """Calls one dependency (`source:flights`, `index:flights`) on behalf of the runtime."""

    dependency: Dependency

    @property
    def clock(self) -> Clock:
        return self.dependency.clock

    @property
    def metrics(self) -> Metrics:
        return self.dependency.metrics

    @property
    def policy(self) -> RetryPolicy:
        return self.dependency.policy

    async def call(
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  the guard's very job
        waits: bool = False,
    ) -> T:
        """The operation's result. Raises Fatal, or Retryable when the policy's attempts are used up.

        timeout: seconds each attempt may take
        waits:   the call waits by nature (reading), and may be cancelled and made again without loss
        """
        breaker = self.dependency.breaker

        async def attempt() -> T:
            return await self._attempt(operation, timeout)

        async def probe() -> _Answer[T] | None:
            with anyio.move_on_after(PROBE_SECONDS):
                return _Answer(await attempt())
            return None

        async def broken() -> T:
            if waits and breaker.state is not State.CLOSED:
                answer = await breaker.call(probe)
                if answer is not None:
                    return answer.value
            return await breaker.call(attempt)

        return await retrying(
            broken,
            self.policy,
            self.clock,
            on_retry=self.dependency.note_retry,
            budget=self.dependency.budget,
        )

    async def _attempt(self, operation: Callable[[], Awaitable[T]], timeout: float | None) -> T:  # noqa: ASYNC109
        with self.dependency.breaker.noting():
            try:
                with anyio.fail_after(timeout):
                    return await operation()
            except (HeadraceError, EndOfInput):
                raise
            except TimeoutError as error:
                raise self._timed_out(error, timeout) from error
            except Exception as error:
                event(log.error, "component.faulted", dependency=self.dependency.name, exc_info=error)
                raise Fatal(f"{self.dependency.name} failed: {type(error).__name__}: {error}") from error

    def _timed_out(self, error: TimeoutError, timeout: float | None) -> TimedOut:
        if timeout is None:  # not ours: the component let one of its own out
            return TimedOut(f"{self.dependency.name} timed out: {error}")
        return TimedOut(f"{self.dependency.name} did not answer within {timeout:g} s")
