"""Memory and CPU of processes, seen from outside; what processes share is counted once."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
GONE: Final = (FileNotFoundError, ProcessLookupError, PermissionError)


def proportional_bytes(pid: int) -> tuple[int, int]:
    """PSS, a page shared by two processes counts half for each; and the part of it that is on a tmpfs or
    shared otherwise. Zeros when the process is gone."""
    found = _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:", "Pss_Shmem:")
    return found.get("Pss:", 0), found.get("Pss_Shmem:", 0)


def shared_bytes() -> int:
    """What all tmpfs and shared memory of the machine hold: its growth is that of whoever is measured."""
    return _kilobytes("/proc/meminfo", "Shmem:").get("Shmem:", 0)


def held_bytes(pids: list[int], shared_before: int) -> int:
    """What processes hold together, files that they keep on a tmpfs included."""
    seen = [proportional_bytes(pid) for pid in pids]
    private = sum(all_of_it - shared for all_of_it, shared in seen)
    return private + max(shared_bytes() - shared_before, sum(shared for _, shared in seen))


def peak_bytes() -> int:
    """The most this process ever had in memory (`ru_maxrss` would begin with its parent's)."""
    return _kilobytes("/proc/self/status", "VmHWM:").get("VmHWM:", 0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except GONE:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def others_seconds() -> float:
    """CPU seconds that the machine has spent on anybody but us and our ended children, what a host took
    away included: its growth says whether a measurement had the machine for itself."""
    fields = [int(word) / TICKS for word in Path("/proc/stat").read_text().split(None, 9)[1:9]]
    user, nice, system, _idle, _waiting, hard, soft, stolen = fields
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return user + nice + system + hard + soft + stolen - sum(used.ru_utime + used.ru_stime for used in ours)


def on_disk(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except GONE:
            continue
    return found


def _kilobytes(path: str, *names: str) -> dict[str, int]:
    """Lines such as `Pss:   12 kB` of a file, in bytes."""
    try:
        lines = Path(path).read_text().splitlines()
    except GONE:
        return {}
    pairs = (line.split()[:2] for line in lines if line.startswith(names))
    return {name: int(value) * 1024 for name, value in pairs if name in names}
