"""Where the time goes, as text: `python -m benches.profile` writes `benches/profiles/`.

Three looks: CPU of every thread by its name; what our own functions were doing when looked at, a hundred
times a second; and which lines hold memory. Each run is a process of its own, since looking costs time.
"""  # noqa: A005  nobody imports it

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from benches import measure_pipeline, measure_push
from benches import records as made
from benches.machine import describe
from benches.memory import GONE, TICKS, family
from benches.service import Service, free_port

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "benches" / "profiles"
PACKAGE: Final = str(ROOT / "src" / "headrace")

LOOK_SECONDS: Final = 0.01
TOP: Final = 25
ALLOCATING: Final = 50_000
"""Records of the look at memory, which makes everything several times slower."""

PUSH_RATE: Final = 25_000
PUSH_SECONDS: Final = 8.0

IDLE: Final = ("wait", "select", "poll", "get", "acquire", "_worker", "run_forever")
"""Innermost functions of a thread that has nothing to do."""


class Threads:
    """CPU seconds of the threads of some processes from now on; looked at often, since threads end."""

    def __init__(self, roles: dict[int, str]) -> None:
        self._roles = roles
        self._before = {thread: used for pid in roles for thread, _, used in threads_of(pid)}
        self._seen: dict[tuple[str, str, int], float] = {}

    def look(self) -> None:
        for pid, role in self._roles.items():
            for thread, name, seconds in threads_of(pid):
                self._seen[role, name, thread] = seconds - self._before.get(thread, 0.0)

    def summed(self) -> list[tuple[str, str, float]]:
        """Process, name and seconds of all threads of that name, the most first."""
        found: dict[tuple[str, str], float] = {}
        for (role, name, _), seconds in self._seen.items():
            found[role, name] = found.get((role, name), 0.0) + seconds
        return sorted(((*key, seconds) for key, seconds in found.items()), key=lambda each: -each[2])


def threads_of(pid: int) -> Iterator[tuple[int, str, float]]:
    """Number, name and CPU seconds of each thread."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except GONE:
        return
    for task in tasks:
        try:
            text = (task / "stat").read_text()
        except GONE:
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        yield int(task.name), name, (int(fields[11]) + int(fields[12])) / TICKS


class Sampler:
    """Every thread's stack, a hundred times a second: the innermost function of ours is what it was doing."""

    def __init__(self) -> None:
        self.looks = 0
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        """Functions of ours anywhere in the stack, once a look."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        me = threading.get_ident()
        while not self._over.wait(LOOK_SECONDS):
            self.looks += 1
            for ident, frame in sys._current_frames().items():  # noqa: SLF001  the documented way to see stacks
                if ident != me and frame.f_code.co_name not in IDLE:
                    self._count(frame)

    def _count(self, frame: FrameType) -> None:
        names = list(ours(frame))
        if names:
            self.own[names[0]] += 1
            self.within.update(set(names))


def ours(frame: FrameType | None) -> Iterator[str]:
    """Functions of the package in a stack, innermost first."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            where = Path(code.co_filename).relative_to(PACKAGE).with_suffix("")
            yield f"{'.'.join(where.parts)}: {code.co_qualname}"
        frame = frame.f_back


def reading(work: Path, records: int) -> str:
    """Files → steps → index in this process: threads and functions."""
    source = work / "records.ndjson"
    made.write_input(source, records)
    threads, over = Threads({os.getpid(): "one process"}), threading.Event()
    looking = threading.Thread(target=_keep_looking, args=(threads, over), name="looker", daemon=True)
    looking.start()
    with Sampler() as sampler:
        found = measure_pipeline.measure(work / "append", source, records=records)
    over.set()
    looking.join()
    used = f"{found['cpu_us']:.1f} us of CPU a record"
    parts = f"{found['writing_share']:.0%} of it writing, {found['committing_share']:.0%} committing"
    lines = [
        f"{records:,} records read, checked, changed and indexed",
        f"{found['rate']:,.0f}/s while looked at, {parts}; {used}",
        "",
        *_thread_lines(threads, records),
        "",
        f"functions of ours, {sampler.looks} looks: innermost of ours (own), anywhere in the stack (within)",
        *_function_lines(sampler),
    ]
    return "\n".join(lines)


def pushing(work: Path, _: int) -> str:
    """A service under pushes: threads of both processes."""
    port = free_port()
    config = made.write_config(work / "pushed", pushed=True, port=port)
    with Service(config, port) as service:
        ingester = service.ingester
        roles = {pid: "ingester" if pid == ingester else "server" for pid in family(service.parent)[1:]}
        threads, over = Threads(roles), threading.Event()
        looking = threading.Thread(target=_keep_looking, args=(threads, over), daemon=True)
        looking.start()
        found = measure_push.pushed(service, PUSH_RATE, PUSH_SECONDS)
        service.wait_for(made.INDEX, found["records"])
        over.set()
        looking.join()
    answers, searchable = found["ack_ms"]["p99"], found["searchable_ms"]["p99"]
    lines = [
        f"{found['records']:,} records pushed at {PUSH_RATE:,}/s",
        f"p99: answers {answers:.1f} ms, searchable {searchable:.1f} ms",
        "",
        *_thread_lines(threads, found["records"]),
    ]
    return "\n".join(lines)


def allocating(work: Path, records: int) -> str:
    """The lines of ours that hold most memory at the end, and the most that Python held at once."""
    records = min(records, ALLOCATING)
    source = work / "records.ndjson"
    made.write_input(source, records)
    tracemalloc.start(12)
    found = measure_pipeline.measure(work / "traced", source, records=records)
    _, peak = tracemalloc.get_traced_memory()
    own = tracemalloc.Filter(inclusive=True, filename_pattern=f"{PACKAGE}/*")
    kept = tracemalloc.take_snapshot().filter_traces([own])
    lines = [
        f"{records:,} records: Python objects took {peak / 1e6:.1f} MB at most",
        f"the whole process {found['peak_mb']:.0f} MB at most, looking included",
        "",
        "what is held at the end, by line of ours",
        f"{'kB':>10} {'objects':>9}  line",
    ]
    for each in kept.statistics("lineno")[:TOP]:
        frame = each.traceback[0]
        where = Path(frame.filename).relative_to(PACKAGE)
        lines.append(f"{each.size / 1000:10.1f} {each.count:9,}  {where}:{frame.lineno}")
    return "\n".join(lines)


LOOKS: Final = {"reading": reading, "pushing": pushing, "allocating": allocating}


def _keep_looking(threads: Threads, over: threading.Event) -> None:
    while not over.wait(0.05):
        threads.look()
    threads.look()


def _thread_lines(threads: Threads, records: int) -> Iterator[str]:
    yield f"{'us/record':>10} {'seconds':>8}  thread (all of that name)"
    for role, name, seconds in threads.summed()[:TOP]:
        if seconds and name not in ("sampler", "looker"):
            yield f"{seconds / records * 1e6:10.2f} {seconds:8.2f}  {role}: {name}"


def _function_lines(sampler: Sampler) -> Iterator[str]:
    yield f"{'own':>7} {'within':>7}  function"
    for name, count in sampler.own.most_common(TOP):
        yield f"{count / sampler.looks:7.1%} {sampler.within[name] / sampler.looks:7.1%}  {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--only", choices=LOOKS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="folder on the disk to use (default: the temporary one)")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where the texts are written")
    given = parser.parse_args()
    if given.only:
        print(LOOKS[given.only](given.work, given.records))
        return
    given.into.mkdir(parents=True, exist_ok=True)
    for name in LOOKS:
        with tempfile.TemporaryDirectory(prefix="headrace-profile-", dir=given.work) as work:
            text = _apart(name, Path(work), given.records)
            head = (
                f"python -m benches.profile, {name}, {datetime.now(UTC):%Y-%m-%d}\n{_machine(Path(work))}\n\n"
            )
        (given.into / f"{name}.txt").write_text(f"{head}{text}", "utf-8")
        print(f"{given.into / name}.txt", file=sys.stderr)


def _apart(name: str, work: Path, records: int) -> str:
    """One look in a process of its own."""
    command = [sys.executable, "-m", "benches.profile", "--only", name]
    command += ["--records", str(records), "--work", str(work)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return done.stdout


def _machine(folder: Path) -> str:
    found: dict[str, Any] = describe(folder)
    return json.dumps(found)


if __name__ == "__main__":
    main()
