"""Channels and budgets: bounds hold, order holds, nothing is lost or doubled, whoever is cancelled when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.channel import Budget, Channel, Closed

RECORDS = 10
BYTES = 100


def channel() -> Channel[int]:
    return Channel("test", max_records=RECORDS, max_bytes=BYTES)


async def settle() -> None:
    """Let every runnable task run until all of them wait."""
    for _ in range(20):
        await checkpoint()


@pytest.mark.anyio
async def test_items_come_out_in_the_order_they_went_in() -> None:
    queue = channel()
    for item in range(3):
        await queue.put(item, records=1, size=1)
    assert [await queue.get() for _ in range(3)] == [0, 1, 2]


@pytest.mark.anyio
@pytest.mark.parametrize(("records", "size"), [(RECORDS, 1), (1, BYTES), (0, BYTES)])
async def test_a_put_waits_while_either_bound_is_reached(records: int, size: int) -> None:
    queue = channel()
    await queue.put(1, records=records, size=size)
    with anyio.move_on_after(0) as scope:
        await queue.put(2, records=1, size=1)
    assert scope.cancelled_caught
    assert (len(queue), queue.size) == (1, size)


@pytest.mark.anyio
async def test_items_without_records_are_bounded_too() -> None:
    queue = channel()
    for item in range(RECORDS):
        await queue.put(item, records=0, size=0)
    with anyio.move_on_after(0) as scope:
        await queue.put(RECORDS, records=0, size=0)
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_an_oversize_item_waits_for_an_empty_channel_and_passes_alone() -> None:
    queue = channel()
    await queue.put(1, records=1, size=1)
    async with anyio.create_task_group() as tasks:

        async def producer() -> None:
            await queue.put(2, records=1, size=BYTES * 5)
            await queue.put(3, records=1, size=1)

        tasks.start_soon(producer)
        await settle()
        assert (len(queue), queue.size) == (1, 1)
        assert await queue.get() == 1
        await settle()
        assert (len(queue), queue.size, queue.fill_ratio) == (1, BYTES * 5, 1.0)
        assert await queue.get() == 2
        assert await queue.get() == 3


@pytest.mark.anyio
async def test_what_is_to_be_alone_waits_until_nothing_else_is_in() -> None:
    """Little batches of a source that keeps up do not form a line, though there is room for many."""
    queue = channel()
    await queue.put(1, records=1, size=1)
    async with asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(queue.put(2, records=1, size=1, alone=True))
        await settle()
        assert not putting.done()
        assert [await queue.get(), await queue.get()] == [1, 2]


@pytest.mark.anyio
async def test_a_closed_channel_is_drained_before_it_says_so() -> None:
    queue = channel()
    await queue.put(1, records=1, size=1)
    queue.close()
    queue.close()
    assert await queue.get() == 1
    with pytest.raises(Closed):
        await queue.get()
    with pytest.raises(Closed):
        queue.get_nowait()
    with pytest.raises(Closed):
        await queue.put(2, records=1, size=1)


@pytest.mark.anyio
async def test_closing_ends_every_waiting_getter_and_putter() -> None:
    ended: list[str] = []

    async def ends(name: str, call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(Closed):
            await call()
        ended.append(name)

    empty, full = channel(), channel()
    await full.put(0, records=RECORDS, size=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ends, "get", empty.get)
            tasks.start_soon(ends, "put", lambda: full.put(1, records=1, size=1))
        await settle()
        empty.close()
        full.close()
    assert sorted(ended) == ["get"] * 3 + ["put"] * 3


@pytest.mark.anyio
async def test_get_nowait_says_that_there_is_nothing_yet() -> None:
    queue = channel()
    with pytest.raises(anyio.WouldBlock):
        queue.get_nowait()
    await queue.put(1, records=1, size=1)
    assert queue.get_nowait() == 1


@pytest.mark.anyio
async def test_fill_ratio_is_that_of_the_nearer_bound() -> None:
    queue = channel()
    assert queue.fill_ratio == 0
    await queue.put(1, records=1, size=50)
    assert queue.fill_ratio == 0.5
    await queue.put(2, records=7, size=1)
    assert queue.fill_ratio == 0.8


@pytest.mark.anyio
async def test_a_request_larger_than_the_budget_is_granted_alone() -> None:
    budget = Budget(100)
    await budget.reserve(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(budget.reserve, 500)
        await settle()
        assert budget.in_flight == 1
        budget.release(1)
        await settle()
        assert budget.in_flight == 500


@pytest.mark.anyio
async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    budget = Budget(100)
    granted: list[int] = []

    async def take(size: int) -> None:
        await budget.reserve(size)
        granted.append(size)

    await budget.reserve(60)
    async with anyio.create_task_group() as tasks:
        for size in (90, 5):
            tasks.start_soon(take, size)
            await settle()
        assert granted == []
        budget.release(60)
    assert granted == [90, 5]


@pytest.mark.anyio
async def test_a_resize_never_waits_and_makes_the_next_reserve_wait() -> None:
    budget = Budget(100)
    await budget.reserve(10)
    budget.resize(10, 150)
    assert budget.in_flight == 150
    with anyio.move_on_after(0) as scope:
        await budget.reserve(1)
    assert scope.cancelled_caught
    budget.resize(150, 20)
    await budget.reserve(80)
    assert budget.in_flight == 100


def test_giving_back_more_than_is_in_flight_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot give back 1 bytes of 0"):
        Budget(10).release(1)


class _Tasks(RuleBasedStateMachine):
    """Runs coroutines as tasks on a loop of its own; between the rules the loop stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(call))

    @property
    def waiting(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks if not task.done()]

    @rule(steps=st.integers(1, 3))
    def run_a_little(self, steps: int) -> None:
        """So few steps that a cancellation may come between a wake-up and the task it woke."""
        for _ in range(steps):
            self.loop.run_until_complete(asyncio.sleep(0))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting)).cancel()

    def run_until_all_wait(self) -> None:
        self.loop.run_until_complete(settle())

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.run_until_all_wait()
        assert not self.waiting
        self.loop.close()
        for task in self.tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


class ChannelLaws(_Tasks):
    def __init__(self) -> None:
        super().__init__()
        self.channel = channel()
        self.sizes: dict[int, int] = {}
        self.accepted: list[int] = []
        self.got: list[int] = []
        self.putting: list[int] = []
        self.getting = 0

    async def put(self, item: int, records: int, size: int) -> None:
        self.putting.append(item)
        try:
            await self.channel.put(item, records=records, size=size)
            self.accepted.append(item)
        except Closed:
            assert self.channel.closed
        finally:
            self.putting.remove(item)

    async def get(self) -> None:
        self.getting += 1
        try:
            self.got.append(await self.channel.get())
        except Closed:
            assert self.channel.closed
        finally:
            self.getting -= 1

    @rule(records=st.integers(0, RECORDS + 2), size=st.integers(0, BYTES + 20))
    def start_put(self, records: int, size: int) -> None:
        item = len(self.sizes)
        self.sizes[item] = size
        self.start(self.put(item, records, size))

    @rule()
    def start_get(self) -> None:
        self.start(self.get())

    @rule()
    def get_nowait(self) -> None:
        if len(self.channel):
            self.got.append(self.channel.get_nowait())

    @rule()
    def no_wake_up_is_lost(self) -> None:
        self.run_until_all_wait()
        assert not (self.getting and len(self.channel))
        assert not (self.putting and not len(self.channel))
        assert not (self.channel.closed and (self.getting or self.putting))

    @precondition(lambda self: len(self.sizes) > 8)
    @rule()
    def close(self) -> None:
        self.channel.close()

    @invariant()
    def bounds_hold_but_for_one_item_alone(self) -> None:
        fits = self.channel.records <= RECORDS and self.channel.size <= BYTES
        assert fits or len(self.channel) == 1

    @invariant()
    def what_came_out_is_what_went_in_first(self) -> None:
        assert self.got == self.accepted[: len(self.got)]
        assert len(self.channel) == len(self.accepted) - len(self.got)
        assert self.channel.size == sum(self.sizes[item] for item in self.accepted[len(self.got) :])

    @invariant()
    def items_are_accepted_in_the_order_they_were_offered(self) -> None:
        assert self.accepted == sorted(self.accepted)


class BudgetLaws(_Tasks):
    LIMIT = 100

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(self.LIMIT)
        self.held: list[int] = []
        self.wanted: list[tuple[int, int]] = []
        self.granted: list[int] = []
        self.number = 0
        self.resized = False

    async def reserve(self, number: int, size: int) -> None:
        self.wanted.append((number, size))
        try:
            await self.budget.reserve(size)
            # Granted over the limit only when alone.
            assert self.budget.in_flight <= self.LIMIT or self.budget.in_flight == size
            self.held.append(size)
            self.granted.append(number)
        finally:
            self.wanted.remove((number, size))

    @rule(size=st.integers(0, 130))
    def start_reserve(self, size: int) -> None:
        self.number += 1
        self.start(self.reserve(self.number, size))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        size = data.draw(st.sampled_from(self.held))
        self.held.remove(size)
        self.budget.release(size)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), new=st.integers(0, 130))
    def resize(self, data: st.DataObject, new: int) -> None:
        old = data.draw(st.sampled_from(self.held))
        self.held.remove(old)
        self.held.append(new)
        self.budget.resize(old, new)

    @rule()
    def the_first_in_line_waits_only_for_room(self) -> None:
        self.run_until_all_wait()
        if self.wanted:
            _, size = self.wanted[0]
            assert self.budget.in_flight > 0
            assert self.budget.in_flight + size > self.LIMIT

    @invariant()
    def what_is_in_flight_is_what_is_held(self) -> None:
        assert self.budget.in_flight == sum(self.held)

    @invariant()
    def requests_are_granted_in_order(self) -> None:
        assert self.granted == sorted(self.granted)


TestChannelLaws = ChannelLaws.TestCase
TestBudgetLaws = BudgetLaws.TestCase
TestChannelLaws.settings = TestBudgetLaws.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
