"""Retries: only what is retryable, jittered to the full, the peer's wait first, never a storm."""

from __future__ import annotations

import anyio
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.core.errors import BreakerOpen, Fatal, Retryable
from headrace.core.retry import RetryBudget, RetryPolicy, retrying
from tick import TickClock

pytestmark = pytest.mark.anyio


class Flaky:
    """Fails as told, one error per call, then answers with the number of calls."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def busy(count: int, after: float | None = None) -> list[Retryable]:
    return [Retryable("busy", after=after) for _ in range(count)]


async def test_a_retryable_error_is_tried_again_until_it_works() -> None:
    clock = TickClock()
    assert await retrying(Flaky(*busy(3)), RetryPolicy(), clock) == 4
    assert len(clock.slept) == 3


async def test_a_lambda_that_makes_a_coroutine_is_awaited() -> None:
    flaky = Flaky(*busy(1))
    assert await retrying(lambda: flaky(), RetryPolicy(), TickClock()) == 2  # noqa: PLW0108  the point


@pytest.mark.parametrize("error", [Fatal("no"), ValueError("bug"), KeyboardInterrupt()])
async def test_nothing_else_is_tried_again(error: BaseException) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        await retrying(flaky, RetryPolicy(), TickClock())
    assert flaky.calls == 1


async def test_a_cancellation_leaves_at_once() -> None:
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        await anyio.sleep_forever()

    with anyio.move_on_after(0.01) as scope:
        await retrying(hang, RetryPolicy(), TickClock())
    assert (scope.cancelled_caught, calls) == (True, 1)


async def test_attempts_are_counted_and_the_last_error_is_raised() -> None:
    clock, flaky = TickClock(), Flaky(*busy(9))
    with pytest.raises(Retryable, match="busy"):
        await retrying(flaky, RetryPolicy(attempts=3), clock)
    assert (flaky.calls, len(clock.slept)) == (3, 2)


async def test_waits_are_below_a_doubling_bound_up_to_the_maximum() -> None:
    clock = TickClock()
    await retrying(Flaky(*busy(12)), RetryPolicy(initial=1, maximum=8), clock)
    bounds = [min(8, 2**n) for n in range(12)]
    assert all(0 <= wait <= bound for wait, bound in zip(clock.slept, bounds, strict=True))


async def test_waits_differ_at_the_maximum_too_so_that_nobody_is_in_step() -> None:
    clock = TickClock()
    await retrying(Flaky(*busy(60)), RetryPolicy(initial=1, maximum=8), clock)
    assert len(set(clock.slept[10:])) > 40


async def test_the_wait_the_peer_named_wins() -> None:
    clock = TickClock()
    await retrying(Flaky(*busy(1, after=120)), RetryPolicy(maximum=5), clock)
    assert clock.slept == [120]


async def test_those_whom_a_breaker_refused_come_back_a_little_apart_and_spend_no_budget() -> None:
    clock, budget = TickClock(), RetryBudget(ratio=0, floor=2)
    refused = [BreakerOpen("breaker open", after=10) for _ in range(50)]
    await retrying(Flaky(*refused), RetryPolicy(), clock, budget=budget)
    assert all(10 <= wait <= 11 for wait in clock.slept)
    assert len(set(clock.slept)) > 40
    assert budget.tokens == 2


async def test_a_peer_that_names_no_time_at_all_does_not_make_us_spin() -> None:
    clock = TickClock()
    await retrying(Flaky(*busy(2, after=0)), RetryPolicy(initial=0.5), clock)
    assert clock.slept == [0.5, 0.5]


async def test_each_retry_is_told_with_its_error_attempt_and_wait() -> None:
    told: list[tuple[str, int, float]] = []
    clock = TickClock()
    await retrying(
        Flaky(*busy(2, after=3)),
        RetryPolicy(),
        clock,
        on_retry=lambda error, attempt, wait: told.append((str(error), attempt, wait)),
    )
    assert told == [("busy", 1, 3), ("busy", 2, 3)]


async def test_an_exhausted_budget_ends_a_bounded_policy_early() -> None:
    budget = RetryBudget(ratio=0, floor=2)
    flaky = Flaky(*busy(9))
    with pytest.raises(Retryable):
        await retrying(flaky, RetryPolicy(attempts=9), TickClock(), budget=budget)
    assert flaky.calls == 3


async def test_an_exhausted_budget_slows_an_unbounded_policy_to_its_longest_wait() -> None:
    clock = TickClock()
    policy = RetryPolicy(initial=0.1, maximum=30, budget=0, floor=2)
    await retrying(Flaky(*busy(4)), policy, clock, budget=RetryBudget.of(policy))
    assert clock.slept[2:] == [30, 30]


async def test_the_last_attempt_spends_nothing() -> None:
    budget = RetryBudget(ratio=0, floor=5)
    with pytest.raises(Retryable):
        await retrying(Flaky(*busy(9)), RetryPolicy(attempts=3), TickClock(), budget=budget)
    assert budget.tokens == 3


def test_a_policy_that_means_nothing_is_refused() -> None:
    for given in ({"initial": 0}, {"attempts": 0}, {"budget": 2}, {"pause": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(given, RetryPolicy)


class BudgetLaws(RuleBasedStateMachine):
    """Retries are never more than the floor and a fifth of the calls, in whatever order they come."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(ratio=0.2, floor=3)
        self.calls = self.retries = 0

    @rule(count=st.integers(1, 12))
    def call(self, count: int) -> None:
        for _ in range(count):
            self.budget.note_call()
        self.calls += count

    @rule(count=st.integers(1, 6))
    def retry(self, count: int) -> None:
        self.retries += sum(self.budget.spend() for _ in range(count))

    @invariant()
    def retries_stay_within_the_budget(self) -> None:
        assert self.retries <= 3 + 0.2 * self.calls + 1e-6

    @invariant()
    def no_storm_is_saved_up(self) -> None:
        assert 0 <= self.budget.tokens <= 3


TestBudgetLaws = BudgetLaws.TestCase
