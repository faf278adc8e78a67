"""The guard: what leaves a component is classified; its breaker covers opening and using, never waiting."""

from __future__ import annotations

import anyio
import pytest

from headrace.core.breaker import State
from headrace.core.dependency import Dependencies, Limits
from headrace.core.errors import EndOfInput, Fatal, Retryable, TimedOut
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy
from headrace.pipeline.guard import Guard
from headrace.testing import ManualClock
from tick import TickClock

pytestmark = pytest.mark.anyio

FOREVER = RetryPolicy(initial=0.1, maximum=30, attempts=None)
ONCE = RetryPolicy(attempts=1)


def guard(
    policy: RetryPolicy = ONCE, clock: TickClock | ManualClock | None = None, metrics: Metrics | None = None
) -> Guard:
    clock = clock or TickClock()
    known = Dependencies(clock, metrics or Metrics(), Health(clock))
    return Guard(known.get("source:p", policy=policy, limits=Limits(failures=3, open_for=5, open_at_most=30)))


class Peer:
    """Fails while it is down; counts who reached it."""

    def __init__(self, *, down: bool = True) -> None:
        self.down = down
        self.reached = 0

    async def use(self) -> str:
        self.reached += 1
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise Retryable("connection refused")
        return "fine"


@pytest.mark.parametrize("error", [Fatal("no"), EndOfInput(), TimedOut("slow")])
async def test_what_a_component_classified_comes_out_as_it_is(error: Exception) -> None:
    async def operation() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await guard().call(operation)
    assert caught.value is error


async def test_anything_else_is_a_fault_of_its_code_and_fatal() -> None:
    async def operation() -> None:
        raise KeyError("x")

    with pytest.raises(Fatal, match="source:p failed: KeyError"):
        await guard().call(operation)


async def test_an_attempt_that_takes_too_long_has_timed_out() -> None:
    with pytest.raises(TimedOut, match=r"source:p did not answer within 0\.01 s"):
        await guard().call(anyio.sleep_forever, timeout=0.01)


async def test_a_timeout_that_a_component_let_out_is_one() -> None:
    async def operation() -> None:
        raise TimeoutError("of a socket")

    with pytest.raises(TimedOut, match="source:p timed out: of a socket"):
        await guard().call(operation)


async def test_a_peer_that_is_away_is_waited_for_and_reached_by_probes_only() -> None:
    """For an hour: three failures open the breaker, then one request per wait, which doubles to 30 s."""
    clock, peer = TickClock(), Peer()

    async def use() -> str:
        peer.down = clock.monotonic() < 1_000 + 3_600
        return await peer.use()

    assert await guard(FOREVER, clock).call(use) == "fine"
    assert peer.reached <= 3 + 3_600 / 30 + 3


async def test_twenty_concurrent_callers_of_a_dead_peer_are_one_probe_at_a_time() -> None:
    clock, peer = ManualClock(), Peer()
    shared = guard(FOREVER, clock)
    answers: list[str] = []

    async def caller() -> None:
        answers.append(await shared.call(peer.use))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        opened_after = peer.reached
        assert 3 <= opened_after <= 20  # those that were on their way when it opened
        for probes in (1, 2, 3):
            for _ in range(60):
                if peer.reached == opened_after + probes:
                    break
                await clock.advance(1)
                await anyio.wait_all_tasks_blocked()
            assert peer.reached == opened_after + probes
            assert shared.dependency.breaker.state is State.OPEN
        peer.down = False
        for _ in range(120):
            await clock.advance(1)
            await anyio.wait_all_tasks_blocked()
    assert answers == ["fine"] * 20


async def test_a_read_that_waits_closes_the_breaker_and_goes_on_waiting() -> None:
    """Waiting for input is no sign of trouble: the probe is over long before the input comes."""
    clock = TickClock()
    shared = guard(FOREVER, clock)
    came = anyio.Event()
    failures = 3

    async def read() -> str:
        nonlocal failures
        if failures:
            failures -= 1
            raise Retryable("connection reset")
        await came.wait()
        return "a batch"

    async with anyio.create_task_group() as tasks:
        result: list[str] = []

        async def reader() -> None:
            result.append(await shared.call(read, waits=True))

        tasks.start_soon(reader)
        with anyio.fail_after(5):
            while failures or shared.dependency.breaker.state is not State.CLOSED:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert result == []
        assert await shared.call(Peer(down=False).use) == "fine"  # an acknowledgement is not refused
        came.set()
    assert result == ["a batch"]


async def test_a_cancelled_call_says_nothing_about_the_peer() -> None:
    shared = guard()
    for _ in range(10):
        with anyio.move_on_after(0.001):
            await shared.call(anyio.sleep_forever)
    assert shared.dependency.breaker.state is State.CLOSED


async def test_retries_are_counted_by_a_bounded_reason() -> None:
    metrics, peer, clock = Metrics(), Peer(), TickClock()

    async def use() -> str:
        peer.down = clock.monotonic() < 1_020
        return await peer.use()

    await guard(FOREVER, clock, metrics).call(use)

    def count(reason: str) -> float:
        labels = {"dependency": "source:p", "reason": reason}
        return metrics.registry.get_sample_value("headrace_retries_total", labels) or 0

    assert count("failed") == peer.reached - 1
    assert count("breaker_open") >= 1


async def test_a_spent_budget_slows_the_callers_that_have_to_go_on() -> None:
    clock, peer = TickClock(), Peer()
    known = Dependencies(clock, Metrics(), Health(clock))
    policy = RetryPolicy(initial=0.1, maximum=30, attempts=None, budget=0, floor=2)
    shared = Guard(known.get("source:p", policy=policy, limits=Limits(failures=1000)))

    async def use() -> str:
        peer.down = peer.reached < 5
        return await peer.use()

    await shared.call(use)
    assert clock.slept[2:] == [30, 30, 30]
