"""Which processes the tests started and did not end: read from /proc, so no fixture is needed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "HEADRACE_TEST_PROCESS"
"""Inherited by children and grandchildren, so that one whose parent has died is found too."""

GRACE_S = 1.0
"""A child that dies with its parent needs a moment."""

_first_seen: dict[int, str] = {}
_seen: set[int] = set()


def remember(test: str) -> None:
    """Note which test was running when a process appeared. Looks at each pid once: it runs after every test."""
    pids = set(_pids())
    _first_seen.update((pid, test) for pid in pids - _seen if _ours(pid))
    _seen.clear()
    _seen.update(pids)


def end_all() -> list[str]:
    """Kill what is left after a grace time and describe it: pid, command, test."""
    until = time.monotonic() + GRACE_S
    while (left := _alive()) and time.monotonic() < until:
        time.sleep(0.02)
    described = [f"{pid} ({_command(pid)}) of {_first_seen.get(pid, 'this test')}" for pid in left]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return described


def _alive() -> list[int]:
    """Living processes of ours. Zombies are none: pytest reports an unwaited child by its warning."""
    return [pid for pid in _pids() if _ours(pid)]


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _ours(pid: int) -> bool:
    me = os.getpid()
    if pid == me:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
        state, parent = stat.rpartition(")")[2].split()[:2]
        marked = int(parent) == me or f"{MARK}={me}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # it ended while we looked, or belongs to somebody else
    # multiprocessing keeps its bookkeeper until the interpreter ends; that is no test's child.
    return marked and state != "Z" and "multiprocessing.resource_tracker" not in _command(pid)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "ended"
