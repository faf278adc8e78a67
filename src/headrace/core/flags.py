"""The flag file: read again when it changes, at most once a second; what cannot be used changes nothing.

Every flag keeps its last good definition, whatever happens to the file. One that never had a good one is
off. Both are said: one log event per change, the health component `flags`, and two metrics.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import ConfigError
from headrace.core.health import Health, State
from headrace.core.log import event
from headrace.core.metrics import Metrics

if TYPE_CHECKING:
    from headrace.core.flagd import Flagset, Rule

log = logging.getLogger(__name__)

COMPONENT: Final = "flags"
LOOK_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 2.0
"""A file written this lately is read anyway: two writes within one tick of its clock look like one."""

UNSEEN: Final = ()


@dataclass(frozen=True, slots=True)
class Use:
    """Where a flag is used: by a step, or (without one) by a pipeline as a whole.

    keyed: a percentage has something to split by
    """

    flag: str
    pipeline: str
    step: str | None = None
    keyed: bool = True

    @property
    def attributes(self) -> dict[str, str]:
        """What a flag's targeting can ask for, beside the key."""
        return {"pipeline": self.pipeline} | ({"step": self.step} if self.step else {})


class UseStatus(msgspec.Struct, frozen=True):
    """One use: `state` is on, off, split (a percentage) or by_key (the rule looks at each key).

    share: part of the keys it is on for; null where only asking for each key tells
    """

    pipeline: str
    step: str | None
    state: str
    share: float | None


class FlagStatus(msgspec.Struct, frozen=True):
    """One flag, of the file or of the configuration; `problem` says why its definition cannot be used."""

    name: str
    used_by: list[UseStatus]
    problem: str = ""


class FlagsStatus(msgspec.Struct, frozen=True):
    """The answer of `GET /api/flags`; `loaded` is the unix time at which a file was last taken."""

    file: str | None = None
    loaded: float | None = None
    problem: str = ""
    flags: list[FlagStatus] = []


class Flags:
    """The flags of a file, as they are now. Any thread may ask.

    read: the file's content as a plain tree; raises ConfigError
    """

    def __init__(
        self,
        path: Path,
        uses: Sequence[Use],
        *,
        read: Callable[[Path], object],
        clock: Clock,
        metrics: Metrics,
        health: Health,
    ) -> None:
        # Imported here, so that a process without flags does not pay for it.
        from headrace.core import flagd

        self._flagd = flagd
        self._path = path
        self._uses = tuple(uses)
        self._used = sorted({use.flag for use in uses})
        self._read = read
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._lock = threading.Lock()
        self._next_look = -math.inf
        self._signature: tuple[int, ...] | None = UNSEEN
        self._tree: object = None
        self._loaded: float | None = None
        self._reason: str | None = None
        self._problems: Mapping[str, str] = {}
        self._flagset: Flagset = flagd.NO_FLAGS

    @property
    def used(self) -> Sequence[str]:
        """The flags the configuration names."""
        return self._used

    def look(self) -> Flagset:
        """The flags as they are now: one state, that a whole batch is decided by."""
        if self._clock.monotonic() >= self._next_look:
            with self._lock:
                if self._clock.monotonic() >= self._next_look:
                    self._look()
                    self._next_look = self._clock.monotonic() + LOOK_SECONDS
        return self._flagset

    def rule(self, use: Use, flagset: Flagset | None = None) -> Rule:
        """How a flag is decided for one of its uses; off where its rule cannot be computed."""
        flagset = self.look() if flagset is None else flagset
        try:
            return flagset.rule(use.flag, use.attributes, self._clock.time())
        except ConfigError:
            return False  # what OpenFeature answers then: the caller's default

    def is_on(self, use: Use) -> bool:
        """On or off for a pipeline as a whole; a percentage is one of pipelines, by their names."""
        rule = self.rule(use)
        return rule if isinstance(rule, bool) else rule.one(use.pipeline)

    def status(self) -> FlagsStatus:
        flagset = self.look()
        names = sorted({*flagset.names, *self._used})
        flags = [FlagStatus(name, list(self._statuses(name, flagset)), self._problem(name)) for name in names]
        return FlagsStatus(self._path.name, self._loaded, self._reason or "", flags)

    def observe(self) -> None:
        """Set the metrics of each flag in use."""
        flagset = self.look()
        for name in self._used:
            shares = [status.share for status in self._statuses(name, flagset)]
            known = [share for share in shares if share is not None]
            mean = sum(known) / len(known) if len(known) == len(shares) else math.nan
            self._metrics.flag_enabled.labels(flag=name).set(mean)

    def _statuses(self, name: str, flagset: Flagset) -> Iterator[UseStatus]:
        for use in self._uses:
            if use.flag == name:
                yield UseStatus(use.pipeline, use.step, *self._state(use, flagset))

    def _state(self, use: Use, flagset: Flagset) -> tuple[str, float | None]:
        rule = self.is_on(use) if use.step is None else self.rule(use, flagset)
        if isinstance(rule, bool):
            return ("on", 1.0) if rule else ("off", 0.0)
        return ("by_key", None) if rule.share is None else ("split", rule.share)

    def _problem(self, name: str) -> str:
        return self._problems.get(name, "")

    def _look(self) -> None:
        found = signature(self._path)
        if found == self._signature and not self._is_fresh(found):
            return
        if found != self._signature:
            self._reason = None  # whatever is wrong with the new file is said, even if it was so before
        self._signature = found
        try:
            tree = self._read(self._path)
            if tree != self._tree or self._problems or self._reason is None:
                self._take(tree)
        except ConfigError as error:
            self._tree = None
            kept = "the last good state is kept" if self._loaded is not None else "every flag is off"
            self._say(f"{error.message}: {kept}")

    def _is_fresh(self, found: tuple[int, ...] | None) -> bool:
        return found is not None and abs(self._clock.time() - found[0] / 1e9) < FRESH_SECONDS

    def _take(self, tree: object) -> None:
        now = self._clock.time()
        flagset = self._flagd.parse(tree)
        told = {use.flag: problem for use in self._uses if (problem := problem_of(use, flagset, now))}
        self._problems = dict(sorted(told.items()))
        changed, self._tree, self._loaded = tree != self._tree, tree, now
        if changed:
            event(log.info, "flags.loaded", file=self._path.name, flags=len(flagset.names))
        self._say("; ".join(self._with_consequence(name) for name in self._problems))
        if self._problems:
            flagset = flagset.with_kept(self._flagset, list(self._problems))
        self._flagset = flagset

    def _with_consequence(self, name: str) -> str:
        kept = "its last good state is kept" if name in self._flagset.names else "it is off"
        return f"{self._problems[name]}: {kept}"

    def _say(self, reason: str) -> None:
        """Tell how the file is, unless that was the last thing told of it."""
        if reason == self._reason:
            return
        self._reason = reason
        self._metrics.flags_reload.set(0 if reason else 1)
        if not reason:
            self._health.set(COMPONENT, State.READY)
            return
        self._health.set(COMPONENT, State.DEGRADED, f"{self._path.name}: {reason}")
        event(log.warning, "flags.load_failed", file=self._path.name, reason=reason)


def problem_of(use: Use, flagset: Flagset, now: float) -> str:
    """Why a flag cannot be used as it is used here; empty where it can."""
    problem = flagset.problem(use.flag, use.attributes, now)
    if problem or use.keyed or isinstance(flagset.rule(use.flag, use.attributes, now), bool):
        return problem
    return (
        f"flag {use.flag!r} splits by a key, and step {use.step!r} of pipeline {use.pipeline!r} has none: "
        f"say when: {{flag: {use.flag}, key: FIELD}}, or declare the index's id"
    )


def signature(path: Path) -> tuple[int, ...] | None:
    """Changes when the file does, its rights included; None while it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
