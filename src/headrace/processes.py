"""The parent of `headrace run`: starts ingester, server and settler, restarts what dies, passes signals on.

Light on purpose: it imports neither the engine nor the frames, so that the children start at once. A child
never outlives it: the kernel signals the child when its parent dies, and the pipe between them ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.core.log import event
from headrace.core.wakeup import Wakeup

log = logging.getLogger(__name__)

ROLES = ("ingester", "server", "settler")
LATER = {"settler": 2.0}
"""Seconds after the others: it would take their cores while they start."""
PARENT_PIPE = "HEADRACE_PARENT_PIPE"
"""Environment variable with the descriptor of a pipe that ends when the parent does."""

FAILED = 1
CONFIG_ERROR = 2
NOT_NEEDED = 5
"""A child that has nothing to do with this configuration: it is not started again."""

LAST_WORDS_SECONDS = 5.0
STEADY_SECONDS = 30.0
LONGEST_WAIT = 30.0
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """One child process, how often it has died lately, and whether it was told to stop."""

    role: str
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    failures: int = 0
    told: bool = False


class Family:
    """Runs `command(role)` for each role until told to stop, or until one cannot be started.

    `once`: the ingester is to end by itself, and its exit code is the answer.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], *, once: bool = False) -> None:
        self._commands = commands
        self._once = once
        self._children: dict[str, Child] = {}
        self._signals = 0
        self._wake = Wakeup()

    def run(self) -> int:
        """The exit code: 0 after a drain, a child's own code when it will never start."""
        reader, writer = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: self._wake.set())
        try:
            for role in self._commands:
                if role not in LATER:
                    self._children[role] = self._start(role, reader)
            return self._watch(reader)
        finally:
            os.close(writer)

    def _on_signal(self, number: int, _: object) -> None:
        self._signals += 1
        self._wake.set()
        # The ingester drains first, while the server still answers; a second signal stops both at once.
        for role, child in self._children.items():
            if (role == "ingester" or self._signals > 1) and child.process.poll() is None:
                child.told = True
                child.process.send_signal(number)

    def _start(self, role: str, pipe: int) -> Child:
        process = subprocess.Popen(
            self._commands[role],
            pass_fds=[pipe],
            env={**os.environ, PARENT_PIPE: str(pipe)},
            # Children get the terminal's Ctrl-C from us, in order, and not all at once.
            process_group=0,
        )
        return Child(role, process)

    def _watch(self, pipe: int) -> int:
        started = time.monotonic()
        while True:
            self._wake.wait(timeout=1.0)
            if self._signals:
                return self._finish()
            for role in self._commands:
                if role not in self._children and time.monotonic() - started >= LATER[role]:
                    self._children[role] = self._start(role, pipe)
            for role, child in self._children.items():
                code = child.process.poll()
                if code is None or code == NOT_NEEDED:
                    continue
                if self._is_final(child, code):
                    self._end_all(say_it_first=code == CONFIG_ERROR)
                    return code
                self._children[role] = self._restart(child, code, pipe)

    def _is_final(self, child: Child, code: int) -> bool:
        """It ended in order, or could not even start: another try would end the same way."""
        if code == 0 or (self._once and code == FAILED):
            return child.role == "ingester"
        never_ran = child.failures == 0 and time.monotonic() - child.started < STEADY_SECONDS
        return never_ran and code in (FAILED, CONFIG_ERROR)

    def _restart(self, child: Child, code: int, pipe: int) -> Child:
        steady = time.monotonic() - child.started > STEADY_SECONDS
        failures = 1 if steady else child.failures + 1
        wait = min(LONGEST_WAIT, 0.1 * 2 ** (failures - 1))
        event(log.error, "process.restarted", role=child.role, code=code, failures=failures, wait_s=wait)
        time.sleep(wait)
        started = self._start(child.role, pipe)
        started.failures = failures
        return started

    def _finish(self) -> int:
        codes = []
        for role in sorted(self._children):  # the ingester first
            child = self._children[role]
            # An ingester that was being started again when the signal came has not been told.
            if not child.told and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
            codes.append(child.process.wait())
        return max((code for code in codes if code > 0 and code != NOT_NEEDED), default=0)

    def _end_all(self, *, say_it_first: bool) -> None:
        """Stop the others; the one that has the same fault to tell is given the time to do so."""
        for child in self._children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(timeout=LAST_WORDS_SECONDS if say_it_first else 0)
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        for child in self._children.values():
            child.process.wait()


def die_with_parent() -> bool:
    """In a child: be told to stop when the parent dies, however it dies. False if there is no parent."""
    descriptor = os.environ.pop(PARENT_PIPE, None)
    if descriptor is None:
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def wait_for_the_end() -> None:
        os.read(int(descriptor), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_the_end, name="parent-watch", daemon=True).start()
    return True
