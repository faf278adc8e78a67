"""The breaker: opens on failures of the dependency only, and lets exactly one probe find out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import anyio
import pytest

from headrace.core.breaker import Breaker
from headrace.core.errors import Fatal, Retryable
from tick import TickClock

pytestmark = pytest.mark.anyio


async def works() -> str:
    return "fine"


async def fails() -> str:
    raise Retryable("down")


async def attempt(breaker: Breaker) -> None:
    with pytest.raises(Retryable):
        await breaker.call(fails)


async def opened(clock: TickClock, **options: float) -> Breaker:
    breaker = Breaker("airlines", clock, failures=3, window=3, open_for=5, **options)  # type: ignore[arg-type]
    for _ in range(3):
        await attempt(breaker)
    return breaker


async def test_a_working_dependency_is_just_called() -> None:
    breaker = Breaker("airlines", TickClock())
    assert await breaker.call(works) == "fine"
    assert breaker.state == "closed"


async def test_after_enough_failures_calls_are_refused_with_the_time_that_is_left() -> None:
    clock = TickClock()
    breaker = await opened(clock)
    clock.advance(2)
    with pytest.raises(Retryable, match="airlines: breaker open") as refused:
        await breaker.call(works)
    assert (breaker.state, refused.value.after) == ("open", 3)


async def test_a_successful_probe_closes_it() -> None:
    clock = TickClock()
    breaker = await opened(clock)
    clock.advance(5)
    assert await breaker.call(works) == "fine"
    assert breaker.state == "closed"


async def test_a_failed_probe_opens_it_for_twice_as_long_up_to_the_limit() -> None:
    clock = TickClock()
    breaker = await opened(clock, open_at_most=15)
    for wait, next_wait in ((5, 10), (10, 15), (15, 15)):
        clock.advance(wait)
        await attempt(breaker)
        with pytest.raises(Retryable) as refused:
            await breaker.call(works)
        assert refused.value.after == next_wait


async def test_exactly_one_of_twenty_concurrent_callers_probes() -> None:
    clock = TickClock()
    breaker = await opened(clock)
    clock.advance(5)
    answer = anyio.Event()
    probes = refused = 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        await answer.wait()

    async def caller() -> None:
        nonlocal refused
        try:
            await breaker.call(probe)
        except Retryable:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        assert (probes, refused, breaker.state) == (1, 19, "half_open")
        answer.set()
    assert breaker.state == "closed"


async def test_a_cancelled_probe_says_nothing_and_the_next_caller_probes() -> None:
    clock = TickClock()
    breaker = await opened(clock)
    clock.advance(5)
    with anyio.move_on_after(0.01) as scope:
        await breaker.call(anyio.sleep_forever)
    assert (scope.cancelled_caught, breaker.state) == (True, "half_open")
    assert await breaker.call(works) == "fine"


@pytest.mark.parametrize(
    "error", [Fatal("no such table"), ValueError("a bug of ours"), asyncio.CancelledError()]
)
async def test_other_errors_are_no_failures_of_the_dependency(error: BaseException) -> None:
    breaker = Breaker("airlines", TickClock(), failures=3, window=3)

    async def other() -> None:
        raise error

    for _ in range(10):
        with pytest.raises(type(error)):
            await breaker.call(other)
    assert breaker.state == "closed"


async def test_a_call_that_makes_a_coroutine_is_awaited() -> None:
    def make() -> Coroutine[None, None, str]:
        return works()

    assert await Breaker("airlines", TickClock()).call(make) == "fine"


async def test_forced_open_refuses_and_forced_closed_calls_until_it_is_let_go() -> None:
    breaker = Breaker("airlines", TickClock(), failures=1, window=1)
    breaker.force("open")
    with pytest.raises(Retryable, match="breaker open") as refused:
        await breaker.call(works)
    assert (breaker.state, refused.value.after) == ("open", 1.0)
    breaker.force("closed")
    for _ in range(5):
        await attempt(breaker)
    assert breaker.state == "closed"
    breaker.force(None)
    await attempt(breaker)
    assert breaker.state == "open"


async def test_changes_are_told_once_each() -> None:
    clock = TickClock()
    told: list[tuple[str, str]] = []
    breaker = Breaker(
        "airlines",
        clock,
        failures=1,
        window=1,
        open_for=5,
        on_change=lambda name, state: told.append((name, state)),
    )
    breaker.force("closed")
    breaker.force(None)
    await attempt(breaker)
    clock.advance(5)
    await breaker.call(works)
    assert told == [("airlines", state) for state in ("open", "half_open", "closed")]
