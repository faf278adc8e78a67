"""Dependencies: retries within a bounded time, a breaker shared by all callers, as many calls as the peer bears."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.core.clock import SystemClock
from headrace.core.dependency import BOUNDED, Dependencies, Dependency, Failed, Limits, reason_of
from headrace.core.errors import BreakerOpen, Fatal, Retryable, TimedOut
from headrace.core.health import Health, State
from headrace.core.limit import AdaptiveLimit
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy
from tick import TickClock

QUICK = RetryPolicy(initial=0.1, maximum=1, attempts=3)
LIMITS = Limits(timeout=2, patience=10, concurrency=8, failures=5, open_for=5, open_at_most=20)


def no_time() -> float:
    return 0.0


class House:
    """One dependency, its surroundings, and a clock held in the hand."""

    def __init__(self, policy: RetryPolicy = QUICK, limits: Limits = LIMITS) -> None:
        self.clock = TickClock()
        self.metrics = Metrics()
        self.health = Health(self.clock)
        self.waits: list[float] = []
        self.all = Dependencies(self.clock, self.metrics, self.health, wait=self._wait)
        self.peer = self.all.get("lookup:p.geo", policy=policy, limits=limits)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def fail_until_open(self) -> None:
        while self.peer.breaker.state == "closed":
            with pytest.raises(Retryable):
                self.peer.call(failing(Retryable("connection refused")))


def failing(*errors: Exception) -> Callable[[float], int]:
    """Fails as told, for ever with the last error if it is the only one; then answers."""
    left = list(errors)

    def operation(_: float) -> int:
        if len(errors) == 1:
            raise errors[0]
        if left:
            raise left.pop(0)
        return 42

    return operation


def test_a_call_is_tried_again_and_told_the_time_it_may_take() -> None:
    house, told = House(), list[float]()

    def operation(timeout: float) -> str:
        told.append(timeout)
        if len(told) < 3:
            house.clock.advance(4.5)
            raise Retryable("busy")
        return "fine"

    assert house.peer.call(operation) == "fine"
    assert told[:2] == [2, 2]
    assert told[2] == pytest.approx(10 - 9 - sum(house.waits))
    assert house.sample("headrace_retries_total", dependency="lookup:p.geo", reason="failed") == 2


def test_retries_end_with_the_attempts_or_with_the_patience() -> None:
    house = House()
    with pytest.raises(Retryable, match="busy"):
        house.peer.call(failing(Retryable("busy")))
    assert len(house.waits) == 2
    with pytest.raises(Retryable, match="come back"):
        house.peer.call(failing(Retryable("come back in a minute", after=60)))
    assert len(house.waits) == 2


@pytest.mark.parametrize("error", [Fatal("no"), ValueError("a bug")])
def test_other_errors_come_out_at_once_and_are_no_failures(error: Exception) -> None:
    house = House()
    for _ in range(20):
        with pytest.raises(type(error)):
            house.peer.call(failing(error))
    assert (house.peer.breaker.state, house.waits) == ("closed", [])


def test_an_open_breaker_refuses_at_once_with_the_time_that_is_left() -> None:
    house = House()
    house.fail_until_open()
    waits = len(house.waits)
    house.clock.advance(1)
    with pytest.raises(BreakerOpen, match="breaker open") as refused:
        house.peer.call(failing(Retryable("never asked")))
    assert (refused.value.after, len(house.waits)) == (4, waits)


def test_breaker_state_is_in_metrics_readiness_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    caplog.set_level(logging.INFO, "headrace.core.watch")
    house.health.set("index:i", State.READY)
    assert house.sample("headrace_breaker_state", dependency="lookup:p.geo", state="closed") == 1
    house.fail_until_open()
    assert house.sample("headrace_breaker_state", dependency="lookup:p.geo", state="open") == 1
    component = house.health.snapshot().components["breaker:lookup:p.geo"]
    assert (component.state, house.health.snapshot().state) == (State.DEGRADED, State.DEGRADED)
    assert "connection refused" in component.reason
    assert house.peer.status().retry_in == 5
    house.clock.advance(5)
    with pytest.raises(Retryable):
        house.peer.call(failing(Retryable("connection refused")))
    house.clock.advance(10)
    assert house.peer.call(lambda _: "back") == "back"
    assert house.health.snapshot().state is State.READY
    assert "breaker:lookup:p.geo" not in house.health.snapshot().components
    names = [record.getMessage().split()[0] for record in caplog.records]
    tried = ["breaker.opened", "breaker.half_opened"]
    assert [name for name in names if name.startswith("breaker")] == [*tried, *tried, "breaker.closed"]
    assert "lasted_s=15" in caplog.records[-1].getMessage()


def test_each_failed_probe_doubles_the_wait_that_is_told() -> None:
    house = House(RetryPolicy(attempts=1))
    house.fail_until_open()
    for wait, following in ((5, 10), (10, 20), (20, 20)):
        house.clock.advance(wait)
        with pytest.raises(Retryable):
            house.peer.call(failing(Retryable("still down")))
        assert house.peer.status().retry_in == following


def test_an_operator_forces_it_open_and_closed_and_lets_it_go() -> None:
    house = House()
    house.peer.breaker.force("open")
    with pytest.raises(BreakerOpen, match="held so by an operator"):
        house.peer.call(lambda _: 1)
    status = house.peer.status()
    assert (status.state, status.forced, status.retry_in) == ("open", "open", None)
    assert house.health.snapshot().components["breaker:lookup:p.geo"].reason == "held open by an operator"
    house.peer.breaker.force("closed")
    for _ in range(20):
        with pytest.raises(Retryable):
            house.peer.call(failing(Retryable("down")))
    assert (house.peer.status().state, house.peer.status().forced) == ("closed", "closed")
    assert house.health.snapshot().components["breaker:lookup:p.geo"].state is State.READY
    house.peer.breaker.force(None)
    assert (house.peer.status().forced, house.health.snapshot().components) == (None, {})


def test_a_spent_budget_ends_the_retries_of_all_callers() -> None:
    """Ten tokens and a fifth of one per call: a hundred failing calls are not three hundred requests."""
    house = House(RetryPolicy(initial=0.01, maximum=0.01, attempts=3), Limits(failures=1000))
    asked = 0

    def down(_: float) -> None:
        nonlocal asked
        asked += 1
        raise Retryable("down")

    for _ in range(100):
        with pytest.raises(Retryable):
            house.peer.call(down)
    assert asked <= 100 + 10 + asked / 5


def test_map_answers_each_key_in_order_and_tries_only_the_failed_ones_again() -> None:
    house, asked = House(), Counter[int]()

    def operation(key: int, _: float) -> int:
        asked[key] += 1
        if key % 5 == 0 and asked[key] == 1:
            raise Retryable("busy")
        return key * 10

    assert house.peer.map(operation, range(20)) == [key * 10 for key in range(20)]
    assert {key for key, count in asked.items() if count == 2} == {0, 5, 10, 15}
    assert house.peer.map(operation, []) == []


def test_map_goes_on_as_long_as_answers_come_and_gives_the_rest_up_when_none_do() -> None:
    """A slow peer that answers is no outage: fifty seconds of answers with a patience of ten."""
    house, asked = House(limits=Limits(timeout=2, patience=10, concurrency=1)), list[int]()

    def operation(key: int, _: float) -> int:
        asked.append(key)
        house.clock.advance(1)
        if key >= 50:
            house.clock.advance(4)
            raise TimedOut("slow")
        return key

    answers = house.peer.map(operation, range(1000))
    assert answers[:50] == list(range(50))
    assert all(isinstance(answer, Failed) for answer in answers[50:])
    assert 50 + 2 <= len(asked) <= 50 + 3


def test_map_says_which_keys_could_not_be_had() -> None:
    house = House(limits=Limits(failures=1000))

    def operation(key: int, _: float) -> int:
        if key == 3:
            raise Retryable("this one never")
        return key

    answers = house.peer.map(operation, range(5))
    assert [at for at, answer in enumerate(answers) if isinstance(answer, Failed)] == [3]


def test_a_fatal_of_one_key_is_that_of_all() -> None:
    def operation(key: int, _: float) -> int:
        if key == 3:
            raise Fatal("no")
        return key

    with pytest.raises(Fatal):
        House().peer.map(operation, range(50))


def test_a_peer_that_is_back_is_asked_for_one_key_first_and_then_for_the_others() -> None:
    house = House()
    house.fail_until_open()
    house.clock.advance(5)
    assert house.peer.map(lambda key, _: key, range(10)) == list(range(10))


def test_a_dead_peer_gets_only_probes_from_twenty_concurrent_threads() -> None:
    """Counted at the peer: five failures open the breaker, then one request per wait that is over."""
    house = House(RetryPolicy(attempts=1))
    house.fail_until_open()
    reached = 0
    count = threading.Lock()

    def dead(_: float) -> None:
        nonlocal reached
        with count:
            reached += 1
        time.sleep(0.02)
        raise Retryable("connection refused")

    def caller() -> None:
        for _ in range(5):
            with contextlib.suppress(Retryable):
                house.peer.call(dead)

    for probes, wait in ((0, 5), (1, 10), (2, 20), (3, 0)):
        threads = [threading.Thread(target=caller) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reached == probes
        house.clock.advance(wait)


def test_a_wait_in_a_worker_thread_ends_when_its_pipeline_is_cancelled() -> None:
    policy = RetryPolicy(initial=30, maximum=60)
    peer = Dependencies(SystemClock()).get("x", policy=policy, limits=Limits(patience=90))

    async def main() -> bool:
        with anyio.move_on_after(0.05) as scope:
            await anyio.to_thread.run_sync(peer.call, failing(Retryable("down", after=60)))
        return scope.cancelled_caught

    started = time.monotonic()
    assert anyio.run(main)
    assert time.monotonic() - started < 5


def test_reasons_are_from_a_bounded_set() -> None:
    errors = (Retryable("x"), Retryable("x", after=1), TimedOut("x"), BreakerOpen("x", after=1))
    assert [reason_of(error) for error in errors] == ["failed", "throttled", "timeout", "breaker_open"]


def test_one_name_is_one_dependency() -> None:
    every = Dependencies(TickClock())
    first: Dependency = every.get("index:i", policy=BOUNDED)
    assert every.get("index:i") is first is every.find("index:i")
    assert (every.find("index:j"), [each.name for each in every.all()]) == (None, ["index:i"])


class TestAdaptiveLimit:
    """One more after a good window, half as many after a time-out, never none."""

    def limit(self, maximum: int = 8) -> AdaptiveLimit:
        self.clock = TickClock()
        return AdaptiveLimit(maximum, self.clock)

    def answer(self, limit: AdaptiveLimit, seconds: float, times: int = 1) -> None:
        for _ in range(times):
            with limit.slot(no_time):
                self.clock.advance(seconds)

    def time_out(self, limit: AdaptiveLimit) -> None:
        with pytest.raises(TimedOut), limit.slot(no_time):
            raise TimedOut("slow")

    def test_halves_on_each_time_out_down_to_one(self) -> None:
        limit = self.limit()
        seen = []
        for _ in range(5):
            self.time_out(limit)
            seen.append(limit.limit)
        assert seen == [4, 2, 1, 1, 1]

    def test_grows_by_one_per_good_window_up_to_the_maximum(self) -> None:
        limit = self.limit()
        for _ in range(3):
            self.time_out(limit)
        self.answer(limit, 0.01, times=1)
        assert limit.limit == 2
        self.answer(limit, 0.01, times=2)
        assert limit.limit == 3
        self.answer(limit, 0.01, times=100)
        assert limit.limit == 8

    def test_calls_that_were_out_together_halve_it_once(self) -> None:
        limit = self.limit()
        slots = [limit.slot(no_time) for _ in range(8)]
        for slot in slots:
            slot.__enter__()
        for slot in slots:
            assert not slot.__exit__(TimedOut, TimedOut("slow"), None)
        assert limit.limit == 4

    def test_a_peer_that_gets_slow_is_relieved_and_not_held_down_for_ever(self) -> None:
        limit = self.limit()
        self.answer(limit, 0.02, times=40)
        self.answer(limit, 0.5, times=8)
        assert limit.limit == 4
        self.answer(limit, 0.5, times=300)
        assert limit.limit == 8

    def test_a_failure_that_is_no_overload_changes_nothing(self) -> None:
        limit = self.limit()
        for error in (Retryable("connection refused"), BreakerOpen("not asked", after=1), Fatal("no")):
            with pytest.raises(type(error)), limit.slot(no_time):
                raise error
        assert limit.limit == 8

    def test_who_finds_no_slot_in_time_has_timed_out(self) -> None:
        limit = self.limit(1)
        with (
            limit.slot(no_time),
            pytest.raises(TimedOut, match="no turn"),
            limit.slot(iter([0.01, 0.0]).__next__),
        ):
            pass


class BreakerLaws(RuleBasedStateMachine):
    """A model of the breaker: what it lets through, when it opens, how long, and who holds it."""

    @initialize(failures=st.integers(1, 4))
    def begin(self, failures: int) -> None:
        self.failures = failures
        self.house = House(RetryPolicy(attempts=1), Limits(failures=failures, open_for=4, open_at_most=16))
        self.calls: list[bool] = []
        self.until: float | None = None
        self.wait = 4.0
        self.forced: str | None = None

    @property
    def now(self) -> float:
        return self.house.clock.now

    @rule(fails=st.booleans())
    def call(self, fails: bool) -> None:
        asked = False

        def operation(_: float) -> None:
            nonlocal asked
            asked = True
            if fails:
                raise Retryable("down")

        with contextlib.suppress(Retryable):
            self.house.peer.call(operation)
        assert asked == self._admits()
        if asked:
            self._settle(fails)

    def _admits(self) -> bool:
        if self.forced is not None:
            return self.forced == "closed"
        return self.until is None or self.now >= self.until

    def _settle(self, failed: bool) -> None:
        if self.forced is not None:
            return
        if self.until is not None:
            self.wait = min(16.0, 2 * self.wait)
            self.until = self.now + self.wait if failed else None
            if not failed:
                self._fresh()
            return
        self.calls = [*self.calls, failed][-20:]
        if len(self.calls) >= self.failures and sum(self.calls) * 2 >= len(self.calls):
            self.until = self.now + self.wait

    def _fresh(self) -> None:
        self.calls, self.until, self.wait = [], None, 4.0

    @rule(error=st.sampled_from([Fatal("4xx"), ValueError("bug")]))
    def call_that_says_nothing(self, error: Exception) -> None:
        """A refused request has reached the peer: it counts as one that works."""
        admitted = self._admits()
        with pytest.raises((type(error), Retryable)):
            self.house.peer.call(failing(error))
        if admitted:
            self._settle(failed=False)

    @rule(seconds=st.sampled_from([0.5, 4, 9, 16]))
    def time_passes(self, seconds: float) -> None:
        self.house.clock.advance(seconds)

    @rule(state=st.sampled_from(["open", "closed"]))
    def force(self, state: str) -> None:
        self.house.peer.breaker.force("open" if state == "open" else "closed")
        self.forced = state

    @precondition(lambda self: self.forced is not None)
    @rule()
    def let_go(self) -> None:
        self.house.peer.breaker.force(None)
        self.forced = None
        self._fresh()

    @invariant()
    def everybody_is_told_the_same(self) -> None:
        if not hasattr(self, "house"):
            return
        status = self.house.peer.status()
        is_open = self.until is not None if self.forced is None else self.forced == "open"
        assert (status.state, status.forced) == ("open" if is_open else "closed", self.forced)
        shown = self.house.sample("headrace_breaker_state", dependency="lookup:p.geo", state=status.state)
        assert shown == 1
        component = self.house.health.snapshot().components.get("breaker:lookup:p.geo")
        assert (component is not None and component.state is State.DEGRADED) == is_open
        if self.forced is None and self.until is not None:
            assert status.retry_in == pytest.approx(max(0.0, self.until - self.now))


TestBreakerLaws = BreakerLaws.TestCase
