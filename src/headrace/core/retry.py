"""Trying again: full jitter, the peer's own wait first, and a budget so that retries never pile up.

Only `Retryable` is tried again. A cancellation, a `Fatal`, a bug: all leave at once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from headrace.core.clock import Clock
from headrace.core.errors import BreakerOpen, Retryable

T = TypeVar("T")

OnRetry = Callable[[Retryable, int, float], None]
"""Called before each wait with the error, the number of the attempt that failed, and the wait in seconds."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how often. The wait before retry n is random between 0 and initial * 2^(n-1)."""

    initial: Annotated[float, msgspec.Meta(gt=0, description="bound of the first wait, in seconds")] = 0.1
    maximum: Annotated[float, msgspec.Meta(gt=0, description="bound of every wait, in seconds")] = 30.0
    attempts: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(description="how often to try at all; not given: for ever"),
    ] = None
    budget: Annotated[
        float,
        msgspec.Meta(ge=0, le=1, description="retries allowed per call to a dependency"),
    ] = 0.2
    floor: Annotated[
        int, msgspec.Meta(ge=1, description="retries that are allowed whatever the number of calls")
    ] = 10


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Seconds to wait after so many failures in a row: full jitter under a doubling, capped bound."""
    return random.uniform(0, min(policy.maximum, policy.initial * 2 ** min(failures - 1, 30)))  # noqa: S311


class RetryBudget:
    """A token bucket per dependency: each call puts in a part of a token, each retry takes a whole one.

    So retries never exceed `floor` + `ratio` of the calls, however many tasks call: a dependency that
    is down is not kept down by those who wait for it. Any thread may call.
    """

    def __init__(self, ratio: float = 0.2, floor: int = 10) -> None:
        self._ratio = ratio
        self._floor = floor
        self._tokens = float(floor)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, policy: RetryPolicy) -> RetryBudget:
        return cls(policy.budget, policy.floor)

    @property
    def tokens(self) -> float:
        return self._tokens

    def note_call(self) -> None:
        # Never above the floor: a long quiet time must not save up for a storm.
        with self._lock:
            self._tokens = min(float(self._floor), self._tokens + self._ratio)

    def spend(self) -> bool:
        """Take a token for one retry; False if there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


async def retrying(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    clock: Clock,
    *,
    on_retry: OnRetry | None = None,
    budget: RetryBudget | None = None,
) -> T:
    """Call until it works, the policy ends, or an error comes that is not `Retryable`; raises the last error.

    An exhausted budget ends a policy with a number of attempts, and slows one without to its longest
    wait: a pipeline that has to go on does, but gently.
    """
    plan = _Plan(policy, budget)

    # A coroutine function of its own: tenacity would not await what a lambda returns.
    async def attempt() -> T:
        return await call()

    controller = AsyncRetrying(
        sleep=clock.sleep,
        wait=plan.wait,
        stop=plan.stop,
        retry=retry_if_exception_type(Retryable),
        before_sleep=_telling(on_retry),
        reraise=True,
    )
    if budget is not None:
        budget.note_call()
    return await controller(attempt)


class _Plan:
    """What to do after a failed attempt. tenacity asks for the wait first, then whether to stop."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget | None) -> None:
        self._policy = policy
        self._budget = budget
        self._jitter = wait_random_exponential(multiplier=policy.initial, max=policy.maximum)
        self._exhausted = False

    def wait(self, state: RetryCallState) -> float:
        if self._is_last(state):
            return 0.0
        error = _error(state)
        # What the breaker refused reached nobody: it is no part of a storm.
        self._exhausted = (
            self._budget is not None and not isinstance(error, BreakerOpen) and not self._budget.spend()
        )
        after = error.after
        if after is not None:
            # A peer that says "after 0" must not make us spin.
            least = max(after, self._policy.initial)
            # Breakers that opened together in many processes would otherwise probe together for ever.
            return least * random.uniform(1, 1.1) if isinstance(error, BreakerOpen) else least  # noqa: S311
        return self._policy.maximum if self._exhausted else self._jitter(state)

    def stop(self, state: RetryCallState) -> bool:
        return self._is_last(state) or (self._exhausted and self._policy.attempts is not None)

    def _is_last(self, state: RetryCallState) -> bool:
        return self._policy.attempts is not None and state.attempt_number >= self._policy.attempts


def _telling(on_retry: OnRetry | None) -> Callable[[RetryCallState], None] | None:
    if on_retry is None:
        return None
    return lambda state: on_retry(_error(state), state.attempt_number, state.upcoming_sleep)


def _error(state: RetryCallState) -> Retryable:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, Retryable)
    return error
