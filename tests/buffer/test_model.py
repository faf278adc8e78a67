"""The buffer against a model of it: whatever happens in whatever order, logs are lists that only grow."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from buffer.buffers import MB
from headrace.buffer.acks import acknowledge, subscribe, unsubscribe
from headrace.buffer.base import Entry, Stored
from headrace.buffer.reader import LogReader, Lost, open_log
from headrace.buffer.staging import StagedRequest
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import SystemClock
from headrace.core.errors import Retryable

LOGS = ("a", "b", "c")
SUBSCRIBERS = ("one", "push:two/..")
BOUNDS = Bounds(max_bytes=100 * MB, log_bytes=100 * MB, max_age=None, file_bytes=70_000)

logs = st.sampled_from(LOGS)
records = st.integers(1, 4)
padding = st.sampled_from([0, 10, 3000, 20_000])


class BufferMachine(RuleBasedStateMachine):
    """`model[log]` holds the body of each record; a reader may be behind, but never sees another list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name) / "buffer"
        self.model: dict[str, list[str]] = {log: [] for log in LOGS}
        self.positions: dict[str, dict[str, int]] = {}
        self.readers: dict[str, LogReader] = {log: open_log(self.directory, log) for log in LOGS}
        self.staged: list[tuple[StagedRequest, list[Entry]]] = []
        self.made = 0
        self.buffer: Buffer

    def do(self, awaitable: Any) -> Any:
        return self.loop.run(awaitable)

    def entry(self, log: str, count: int, pad: int) -> Entry:
        lines = []
        for _ in range(count):
            self.made += 1
            noise = "".join(chr(0x4E00 + (self.made * 7919 + n * n) % 20_000) for n in range(pad // 3))
            lines.append(f"{self.made}:{noise}")
        return Entry(log, count, "ndjson", "\n".join(lines).encode(), b"head")

    def accept(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.model[entry.log].extend(entry.body.decode().split("\n"))

    @initialize()
    def begin(self) -> None:
        self.open()
        self.incarnation = self.buffer.incarnation

    def open(self) -> None:
        self.buffer = Buffer(self.directory, BOUNDS, SystemClock())
        self.do(self.buffer.open())

    @rule(parts=st.lists(st.tuples(logs, records, padding), min_size=1, max_size=3))
    def append(self, parts: list[tuple[str, int, int]]) -> None:
        entries = [self.entry(*part) for part in parts]
        before = {log: len(found) for log, found in self.model.items()}
        for appended, entry in zip(self.do(self.buffer.append(entries)), entries, strict=True):
            assert (entry.log, before[entry.log]) == (appended.log, appended.first)
            before[entry.log] = appended.end
        self.accept(entries)

    @rule(parts=st.lists(st.tuples(logs, records, padding), min_size=2, max_size=6))
    def append_together(self, parts: list[tuple[str, int, int]]) -> None:
        entries = [self.entry(*part) for part in parts]

        async def all_at_once() -> None:
            await asyncio.gather(*(self.buffer.append([entry]) for entry in entries))

        self.do(all_at_once())
        self.accept(entries)

    @rule()
    def stage(self) -> None:
        async def begin() -> StagedRequest:
            return self.buffer.stage(1000)

        self.staged.append((self.do(begin()), []))

    @precondition(lambda self: self.staged)
    @rule(log=logs, count=records, pad=padding)
    def add_piece(self, log: str, count: int, pad: int) -> None:
        staged, entries = self.staged[-1]
        entry = self.entry(log, count, min(pad, 3000))
        try:
            self.do(staged.add(entry))
        except Retryable:
            self.too_late()
        else:
            entries.append(entry)

    def too_late(self) -> None:
        """The file grew to four times its size meanwhile: all large requests have to be sent again."""
        assert self.buffer.status().files > 1
        while self.staged:
            self.do(self.staged.pop()[0].abandon())

    @precondition(lambda self: self.staged)
    @rule(finish=st.booleans())
    def end_stage(self, finish: bool) -> None:
        staged, entries = self.staged.pop()
        if not finish:
            self.do(staged.abandon())
            return
        try:
            self.do(staged.finish())
        except Retryable:
            self.too_late()
        else:
            self.accept(entries)

    @rule(subscriber=st.sampled_from(SUBSCRIBERS), log=logs)
    def subscribe(self, subscriber: str, log: str) -> None:
        if log not in self.positions.setdefault(subscriber, {}):
            subscribe(self.directory, subscriber, log)
            self.positions[subscriber][log] = at = self.sure_from(log)
            acknowledge(self.directory, subscriber, {log: at}, incarnation=self.incarnation)
            self.buffer.look()

    @rule(subscriber=st.sampled_from(SUBSCRIBERS), share=st.integers(0, 4))
    def acknowledge(self, subscriber: str, share: int) -> None:
        known = self.positions.get(subscriber, {})
        moved = {log: max(at, len(self.model[log]) * share // 4) for log, at in known.items()}
        acknowledge(self.directory, subscriber, moved, incarnation=self.incarnation)
        known.update(moved)

    @rule(subscriber=st.sampled_from(SUBSCRIBERS))
    def unsubscribe(self, subscriber: str) -> None:
        assert bool(self.positions.pop(subscriber, {})) == unsubscribe(self.directory, subscriber)

    @rule()
    def release(self) -> None:
        self.buffer.look()
        self.do(self.buffer.heed_damage())
        self.do(self.buffer.release_files())

    @rule()
    def reopen(self) -> None:
        """What was staged and not finished is gone."""
        self.do(self.buffer.close())
        self.staged.clear()
        self.open()

    @invariant()
    def subscribers_can_read_what_they_have_not_passed(self) -> None:
        for positions in self.positions.values():
            for log, at in positions.items():
                assert self.model[log][at:] == self.read_all(log, at)

    @invariant()
    def nobody_reads_anything_else(self) -> None:
        for log in LOGS:
            at = 0
            while at < len(self.model[log]):
                try:
                    found = self.read_all(log, at)
                except Lost as lost:
                    gap = lost.first, lost.end
                else:
                    assert self.model[log][at:] == found
                    break
                assert at <= gap[0] < gap[1] <= len(self.model[log])
                assert self.model[log][at : gap[0]] == self.before(log, at, gap[0])
                at = gap[1]
            assert len(self.model[log]) == self.readers[log].end() == self.buffer.accepted(log)

    @invariant()
    def the_accounts_are_right(self) -> None:
        assert self.incarnation == self.buffer.incarnation
        self.buffer.look()
        least = self.buffer._holdings.least
        held = Counter({log: self.buffer.status().logs[log].held_bytes for log in least if self.model[log]})
        for log, at in least.items():
            waits = len(self.model[log]) > at
            assert waits == bool(held[log])

    def sure_from(self, log: str) -> int:
        """Whoever subscribes now can be sure of all records from here on; earlier ones may be released."""
        at = 0
        while at < len(self.model[log]):
            try:
                self.read_all(log, at)
            except Lost as lost:
                at = lost.end
            else:
                break
        return at

    def before(self, log: str, after: int, end: int) -> list[str]:
        found: list[str] = []
        while after < end:
            for item in self.readers[log].read(after, size=10_000):
                found.extend(item.entry.body.decode().split("\n")[after - item.first :])
                after = item.end
        return found

    def read_all(self, log: str, after: int) -> list[str]:
        found: list[Stored] = []
        at = after
        while more := self.readers[log].read(at, size=10_000):
            found.extend(more)
            at = more[-1].end
        lines = [line for item in found for line in item.entry.body.decode().split("\n")]
        return lines[after - found[0].first :] if found else []

    def teardown(self) -> None:
        for reader in self.readers.values():
            reader.close()
        if hasattr(self, "buffer"):
            self.do(self.buffer.close())
        self.loop.close()
        self.folder.cleanup()


TestBuffer = BufferMachine.TestCase
TestBuffer.settings = settings(stateful_step_count=25, deadline=None, phases=[Phase.generate])
