"""What the process depends on, one entry each: policy, retry budget, breaker, concurrency, and how it is.

Everybody who calls `index:flights` shares its entry, so that twenty callers are one breaker and one
budget. Plain functions in worker threads call through `Dependency.call` and `map`, coroutines through
`pipeline/guard`. Only `Retryable` is a failure; what to do when it lasts is the caller's policy.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import anyio
import anyio.from_thread
import msgspec

from headrace.core.breaker import State
from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import BreakerOpen, Retryable, TimedOut
from headrace.core.health import Health
from headrace.core.limit import AdaptiveLimit
from headrace.core.log import event
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryBudget, RetryPolicy, backoff
from headrace.core.watch import BreakerStatus, WatchedBreaker

log = logging.getLogger(__name__)

K = TypeVar("K")
T = TypeVar("T")

Wait: TypeAlias = Callable[[float], None]
"""Blocks a worker thread for so many seconds."""

BOUNDED: Final = RetryPolicy(initial=0.1, maximum=2.0, attempts=4)
"""For calls from a worker thread: it is not held for long, the pipeline waits better than a thread."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How one dependency is treated; times in seconds.

    timeout:      of one attempt
    patience:     without any answer, after which a call from a worker thread gives up, waits included
    concurrency:  calls at once from worker threads, when the peer is well
    failures, open_for, open_at_most: see `Breaker`
    """

    timeout: float = 5.0
    patience: float = 10.0
    concurrency: int = 8
    failures: int = 5
    open_for: float = 5.0
    open_at_most: float = 30.0


@dataclass(frozen=True, slots=True)
class Failed:
    """What `map` answers for a key that could not be had: its last error."""

    error: Retryable


def reason_of(error: Retryable) -> str:
    """The bounded code that an error has as a metric label."""
    if isinstance(error, BreakerOpen):
        return "breaker_open"
    if isinstance(error, TimedOut):
        return "timeout"
    return "throttled" if error.after is not None else "failed"


class _Patience:
    """How long to go on without an answer."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._until = self._clock.monotonic() + self._seconds

    def left(self) -> float:
        return self._until - self._clock.monotonic()


def _result(future: Future[T]) -> T:
    """Wait for one of many; a cancelled pipeline does not wait for the others."""
    with contextlib.suppress(anyio.NoEventLoopError):  # called from no worker thread of the runtime
        anyio.from_thread.check_cancelled()
    return future.result()


class Dependency:
    """One peer, shared by all who call it; every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        *,
        policy: RetryPolicy,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        wait: Wait | None = None,
        pipeline: str = "",
    ) -> None:
        self.name = name
        self.pipeline = pipeline
        self.policy = policy
        self.limits = limits
        self.clock = clock
        self.metrics = metrics
        self.budget = RetryBudget.of(policy)
        self.limit = AdaptiveLimit(limits.concurrency, clock)
        self.breaker = WatchedBreaker(
            name,
            clock,
            metrics,
            health,
            failures=limits.failures,
            open_for=limits.open_for,
            open_at_most=limits.open_at_most,
        )
        self._wait = wait or self._wait_in_worker

    # Calls from worker threads

    def call(self, operation: Callable[[float], T]) -> T:
        """The operation's result; it is told the seconds it may take, and has to keep to them.

        Failures are tried again after a wait, within `limits.patience`. Raises the last Retryable,
        BreakerOpen at once while the breaker is open, and any other error as it comes.
        """
        (answer,) = self.map(lambda _, timeout: operation(timeout), (None,))
        if isinstance(answer, Failed):
            raise answer.error
        return answer

    def map(self, operation: Callable[[K, float], T], keys: Sequence[K]) -> list[T | Failed]:
        """An answer, or the last error, for each key in order; several at once, as many as the peer bears.

        Goes on as long as answers come; `limits.patience` after the last one the rest has failed.
        """
        patience = _Patience(self.clock, self.limits.patience)
        answers = self._round(operation, keys, patience)
        for attempt in itertools.count(1):
            again = self._again(answers, attempt)
            if not again:
                break
            wait = max(self._backoff(error, attempt) for error in again.values())
            if wait >= patience.left():
                break
            self.note_retry(next(iter(again.values())), attempt, wait, calls=len(again))
            self._wait(wait)
            retried = self._round(operation, [keys[at] for at in again], patience)
            for at, answer in zip(again, retried, strict=True):
                answers[at] = answer
        return answers

    def _round(
        self, operation: Callable[[K, float], T], keys: Sequence[K], patience: _Patience
    ) -> list[T | Failed]:
        """One attempt for each key."""
        if len(keys) <= 1 or self.breaker.state is not State.CLOSED:
            # The first one finds out whether the peer is there; the others need not come as twenty probes.
            first = [self._attempt(operation, key, patience) for key in keys[:1]]
            return [*first, *self._at_once(operation, keys[1:], patience)]
        return self._at_once(operation, keys, patience)

    def _at_once(
        self, operation: Callable[[K, float], T], keys: Sequence[K], patience: _Patience
    ) -> list[T | Failed]:
        if not keys:
            return []
        with ThreadPoolExecutor(min(len(keys), self.limits.concurrency), self.name) as pool:
            futures: list[Future[T | Failed]] = [
                pool.submit(contextvars.copy_context().run, self._attempt, operation, key, patience)
                for key in keys
            ]
            try:
                return [_result(future) for future in futures]
            finally:
                for future in futures:  # after a bug or a Fatal nothing more is sent
                    future.cancel()

    def _attempt(self, operation: Callable[[K, float], T], key: K, patience: _Patience) -> T | Failed:
        try:
            with self.limit.slot(patience.left):
                left = patience.left()
                if left <= 0:
                    raise TimedOut(f"{self.name} was not asked: no answer for {self.limits.patience:g} s")
                answer = self.breaker.call_sync(lambda: self._ask(operation, key, left))
                patience.renew()
                return answer
        except Retryable as error:
            return Failed(error)

    def _ask(self, operation: Callable[[K, float], T], key: K, left: float) -> T:
        self.budget.note_call()
        with self.breaker.noting():
            return operation(key, min(left, self.limits.timeout))

    def _again(self, answers: Sequence[T | Failed], attempt: int) -> dict[int, Retryable]:
        """Places to try again: not what the breaker refused, nor what the budget does not cover."""
        if self.policy.attempts is not None and attempt >= self.policy.attempts:
            return {}
        if self.breaker.state is State.OPEN:
            return {}
        failed = {at: answer.error for at, answer in enumerate(answers) if isinstance(answer, Failed)}
        return {
            at: error
            for at, error in failed.items()
            if not isinstance(error, BreakerOpen) and self.budget.spend()
        }

    def _backoff(self, error: Retryable, attempt: int) -> float:
        wait = backoff(self.policy, attempt)
        return wait if error.after is None else max(error.after, self.policy.initial)

    def _wait_in_worker(self, seconds: float) -> None:
        try:
            # On the event loop, so that a cancelled pipeline does not wait for its thread.
            anyio.from_thread.run(self.clock.sleep, seconds)
        except anyio.NoEventLoopError:
            time.sleep(seconds)

    # What the guard tells, and everybody may know

    def note_retry(self, error: Retryable, attempt: int, wait: float, calls: int = 1) -> None:
        """Count and tell that calls are tried again after a wait."""
        reason = reason_of(error)
        self.metrics.retries.labels(dependency=self.name, reason=reason).inc(calls)
        if reason == "breaker_open":
            return  # told when it opened
        event(
            log.warning,
            "component.retried",
            dependency=self.name,
            attempt=attempt,
            wait_s=round(wait, 3),
            calls=calls,
            error=str(error),
        )

    def status(self) -> BreakerStatus:
        return self.breaker.status(concurrency=self.limit.limit, retries_left=int(self.budget.tokens))


class Dependencies:
    """Every dependency of the process by name; made when first named, and kept."""

    def __init__(
        self,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        health: Health | None = None,
        *,
        wait: Wait | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._metrics = metrics or Metrics()
        self._health = health or Health(self._clock)
        self._wait = wait
        self._known: dict[str, Dependency] = {}
        self._lock = threading.Lock()

    def get(
        self, name: str, *, policy: RetryPolicy = BOUNDED, limits: Limits | None = None, pipeline: str = ""
    ) -> Dependency:
        """The one called `name`; `policy` and `limits` count where it is named first.

        pipeline: whose it is alone, "" for one that is shared
        """
        with self._lock:
            if name not in self._known:
                self._known[name] = Dependency(
                    name,
                    policy=policy,
                    limits=limits or Limits(),
                    clock=self._clock,
                    metrics=self._metrics,
                    health=self._health,
                    wait=self._wait,
                    pipeline=pipeline,
                )
            return self._known[name]

    def find(self, name: str) -> Dependency | None:
        return self._known.get(name)

    def all(self) -> list[Dependency]:
        with self._lock:
            return sorted(self._known.values(), key=lambda each: each.name)
