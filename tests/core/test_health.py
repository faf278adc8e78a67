"""Health: every state has a reason, and the whole follows from the parts by fixed rules."""

from __future__ import annotations

import msgspec
import pytest

from headrace.core.health import Health, State
from tick import TickClock


def overall(*states: State, critical: bool = False) -> State:
    health = Health()
    for number, state in enumerate(states):
        health.set(f"part-{number}", state, critical=critical)
    return health.overall()[0]


def test_nothing_has_reported_yet_is_starting_and_says_so() -> None:
    assert Health().overall() == (State.STARTING, ["no component has reported yet"])


@pytest.mark.parametrize(
    ("expected", "states"),
    [
        (State.READY, [State.READY]),
        (State.READY, [State.READY, State.FINISHED]),
        (State.FINISHED, [State.FINISHED, State.FINISHED]),
        (State.DEGRADED, [State.READY, State.FAILED]),
        (State.DEGRADED, [State.FAILED]),
        (State.DEGRADED, [State.READY, State.DEGRADED]),
        (State.STARTING, [State.READY, State.FAILED, State.STARTING]),
        (State.DRAINING, [State.STARTING, State.FAILED, State.DRAINING, State.READY]),
    ],
)
def test_the_whole_follows_from_the_parts(expected: State, states: list[State]) -> None:
    assert overall(*states) is expected
    assert overall(*reversed(states)) is expected


def test_a_failed_critical_component_fails_the_whole_even_while_others_start() -> None:
    assert overall(State.STARTING, State.FAILED, critical=True) is State.FAILED
    assert overall(State.DRAINING, State.FAILED, critical=True) is State.DRAINING


def test_degraded_and_finished_still_serve() -> None:
    assert [state for state in State if state.serves] == [State.READY, State.DEGRADED, State.FINISHED]


def test_reasons_name_only_what_is_not_ready() -> None:
    health = Health()
    health.set("search", State.READY)
    health.set("flights", State.FAILED, "data/flights.csv: permission denied")
    health.set("weather", State.STARTING)
    assert health.overall()[1] == ["flights: data/flights.csv: permission denied", "weather: starting"]


def test_since_is_when_the_state_began_whatever_the_reason_became() -> None:
    clock = TickClock()
    health = Health(clock)
    health.set("flights", State.FAILED, "attempt 1")
    began = clock.time()
    clock.advance(5)
    health.set("flights", State.FAILED, "attempt 2")
    snapshot = health.snapshot()
    assert (snapshot.components["flights"].since, snapshot.components["flights"].reason) == (
        began,
        "attempt 2",
    )
    assert (snapshot.state, snapshot.since) == (State.DEGRADED, began)
    clock.advance(5)
    health.set("flights", State.READY)
    assert health.snapshot().since == began + 10


def test_a_removed_component_no_longer_counts() -> None:
    health = Health()
    health.set("search", State.READY)
    health.set("flights", State.FAILED)
    health.remove("flights")
    assert health.overall() == (State.READY, [])


def test_a_snapshot_is_plain_json() -> None:
    health = Health()
    health.set("flights", State.READY)
    told = msgspec.json.decode(msgspec.json.encode(health.snapshot()))
    assert (told["state"], told["components"]["flights"]["state"]) == ("ready", "ready")
