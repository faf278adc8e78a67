"""How the process is: each component says its state and why; the whole follows by fixed rules.

Draining comes first (new work is unwelcome whatever else is true), then the failure of a critical
component, then starting. A failed component that is not critical only degrades: search still answers.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from headrace.core.clock import Clock, SystemClock


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    FAILED = "failed"
    FINISHED = "finished"
    """A one-shot pipeline that has read all there is: as good as ready."""

    @property
    def serves(self) -> bool:
        """Whether requests are welcome in this state (what `/health/ready` answers)."""
        return self in {State.READY, State.DEGRADED, State.FINISHED}


class Component(msgspec.Struct, frozen=True):
    """State of one part; `since` is the unix time in seconds at which it came into this state."""

    state: State
    reason: str = ""
    since: float = 0.0
    critical: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """All of it, as `/health/ready` answers; `reasons` names what is not ready and why."""

    state: State
    since: float
    reasons: list[str]
    components: dict[str, Component]


class Health:
    """States by component; any thread may set and read them."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        # Replaced, never changed: a reader holds one consistent state of all.
        self._components: dict[str, Component] = {}
        self._overall = State.STARTING
        self._since = self._clock.time()

    def set(self, name: str, state: State, reason: str = "", *, critical: bool = False) -> None:
        """Say how a component is. `since` moves only when the state changes, not with the reason."""
        with self._lock:
            before = self._components.get(name)
            since = before.since if before is not None and before.state is state else self._clock.time()
            self._components = {**self._components, name: Component(state, reason, since, critical)}
            self._note_overall()

    def remove(self, name: str) -> None:
        """Forget a component that is gone on purpose."""
        with self._lock:
            self._components = {key: value for key, value in self._components.items() if key != name}
            self._note_overall()

    def overall(self) -> tuple[State, list[str]]:
        """State of the whole, and why for each component that is not ready."""
        components = self._components
        return _overall(components), _reasons(components)

    def snapshot(self) -> Snapshot:
        components = self._components
        return Snapshot(_overall(components), self._since, _reasons(components), dict(components))

    def _note_overall(self) -> None:
        state = _overall(self._components)
        if state is not self._overall:
            self._overall, self._since = state, self._clock.time()


def _overall(components: Mapping[str, Component]) -> State:
    states = {component.state for component in components.values()}
    if State.DRAINING in states:
        return State.DRAINING
    if any(each.state is State.FAILED and each.critical for each in components.values()):
        return State.FAILED
    if State.STARTING in states or not states:
        return State.STARTING
    if states & {State.FAILED, State.DEGRADED}:
        return State.DEGRADED
    return State.FINISHED if states == {State.FINISHED} else State.READY


def _reasons(components: Mapping[str, Component]) -> list[str]:
    if not components:
        return ["no component has reported yet"]
    return [
        f"{name}: {component.reason or component.state}"
        for name, component in sorted(components.items())
        if component.state not in {State.READY, State.FINISHED}
    ]
