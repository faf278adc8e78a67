"""One guard round every component call: time-out, classified retry with jitter, breaker, metrics, log.

Components raise `Retryable` or `Fatal`; whatever else comes out of one is a fault of its code and becomes
`Fatal` here, with the traceback in the log. Cancellation and `EndOfInput` pass untouched.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from headrace.core.breaker import Breaker
from headrace.core.clock import Clock
from headrace.core.errors import EndOfInput, Fatal, HeadraceError, Retryable
from headrace.core.log import event
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy, retrying

log = logging.getLogger(__name__)

T = TypeVar("T")


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Seconds to wait after so many failures in a row: full jitter under a doubling, capped bound."""
    return random.uniform(0, min(policy.maximum, policy.initial * 2 ** min(failures - 1, 30)))  # noqa: S311


@dataclass(frozen=True, slots=True)
class Guard:
    """Calls one dependency (`source:flights`, `index:flights`) on behalf of the runtime.

    `timeout` in seconds bounds each attempt, None for calls that wait by nature (reading).
    """

    dependency: str
    clock: Clock
    metrics: Metrics
    policy: RetryPolicy
    breaker: Breaker | None = None

    async def call(self, operation: Callable[[], Awaitable[T]], *, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """The operation's result. Raises Fatal, or Retryable when the policy's attempts are used up."""

        async def attempt() -> T:
            return await self._attempt(operation, timeout)

        async def broken() -> T:
            assert self.breaker is not None
            return await self.breaker.call(attempt)

        return await retrying(
            attempt if self.breaker is None else broken, self.policy, self.clock, on_retry=self._retried
        )

    async def _attempt(self, operation: Callable[[], Awaitable[T]], timeout: float | None) -> T:  # noqa: ASYNC109
        try:
            with anyio.fail_after(timeout):
                return await operation()
        except (HeadraceError, EndOfInput):
            raise
        except TimeoutError as error:
            raise Retryable(f"{self.dependency} did not answer within {timeout:g} s") from error
        except Exception as error:
            event(log.error, "component.faulted", dependency=self.dependency, exc_info=error)
            raise Fatal(f"{self.dependency} failed: {type(error).__name__}: {error}") from error

    def _retried(self, error: Retryable, attempt: int, wait: float) -> None:
        reason = type(error).__name__.lower()
        self.metrics.retries.labels(dependency=self.dependency, reason=reason).inc()
        event(
            log.warning,
            "component.retried",
            dependency=self.dependency,
            attempt=attempt,
            wait_s=round(wait, 3),
            error=str(error),
        )
