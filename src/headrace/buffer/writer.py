"""The writing side of the buffer, in the server alone: durable on return, one sync for all who wait.

The event loop keeps the accounts and judges the bounds; one thread of its own compresses, writes and
syncs. `run` only looks after time: positions move and files are released without it too, where room is short.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from headrace.buffer import chain
from headrace.buffer.acks import Subscriptions, damage_reports, forget_damage, passed_by_all, unsubscribe
from headrace.buffer.answers import pack_answer
from headrace.buffer.base import Appended, Entry
from headrace.buffer.bounds import Bounds, Drain, Room
from headrace.buffer.commits import Committed, CommitThread
from headrace.buffer.holdings import FileFacts, Holdings
from headrace.buffer.opening import Missing
from headrace.buffer.staging import Answer, StagedRequest, sizes_of
from headrace.buffer.status import BufferStatus, holder_of, logs_of
from headrace.buffer.work import Append, Remember, Stage, Work
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Retryable, StoreError
from headrace.core.log import event

__all__ = ["Bounds", "Buffer"]

log = logging.getLogger("headrace.buffer")

T = TypeVar("T")

TICK_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.1
"""Between two looks at the positions because room is short: a flood of refusals reads no files."""


class Buffer:
    """See `base.BufferWriter`. Of one event loop; `open` first, `close` last."""

    def __init__(
        self,
        directory: Path,
        bounds: Bounds,
        clock: Clock,
        *,
        wake: Callable[[], None] = lambda: None,
        free_space: Callable[[], int] | None = None,
        reserve: int = 0,
    ) -> None:
        """`wake` is called after each commit; `reserve` bytes of the disk stay free (`free_space` of it)."""
        self._directory = directory
        self._bounds = bounds
        self._clock = clock
        self._wake = wake
        self._free_space = free_space or (lambda: shutil.disk_usage(directory).free)
        self._reserve = reserve
        self._holdings = Holdings()
        self._drain = Drain()
        self.room = Room(bounds, self._holdings, self._drain)
        self._thread = CommitThread(directory, clock, bounds.one_file, self._told)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Work, asyncio.Future[object]] = {}
        self._reached: dict[str, int] = {}
        self._incarnation = ""
        self._gaps: list[Missing] = []
        self._looked = -TICK_SECONDS
        self._problem = ""
        self._closing = False
        self._subscriptions = Subscriptions(directory)

    @property
    def incarnation(self) -> str:
        return self._incarnation

    async def open(self) -> None:
        """Raises StoreError (a newer version's files), Retryable (disk full)."""
        self._loop = asyncio.get_running_loop()
        found = await asyncio.to_thread(self._thread.start)
        self._incarnation = found.incarnation
        self._holdings.files = found.files
        self._reached = dict(found.reached)
        self._gaps = found.gaps
        self.look()
        for missing in self.status().missing:
            event(log.error, "buffer.records_missing", log=missing.log, first=missing.first, end=missing.end)

    async def close(self) -> None:
        """What was submitted is finished first."""
        self._closing = True
        await asyncio.to_thread(self._thread.stop)

    async def run(self) -> None:
        """Until cancelled: about once a second, see how far everybody is and release what nobody needs."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            self.look()
            await self.heed_damage()
            await self.release_files()

    async def append(
        self, entries: Sequence[Entry], *, size: int = 0, key: str = "", answer: Answer | None = None
    ) -> list[Appended]:
        """See `base.BufferWriter`. `answer`, given the record numbers, is remembered for `key` with them.

        Cancelled while under way: whether it was accepted is not known."""
        del size  # the entries say it
        sizes = sizes_of(entries)
        total = sum(sizes.values())
        self.require_room(sizes, total)
        self.room.reserve(sizes, total)
        work = Append(entries, key, answer)
        try:
            return cast("list[Appended]", await self.submitted(work))
        finally:
            self.room.free(sizes, total)

    def check_room(self, logs: Sequence[str], size: int) -> None:
        """See `base.BufferWriter`. Of several logs nobody knows each one's share yet: each must have some."""
        share = size if len(logs) == 1 else min(size, 1)
        self.require_room(dict.fromkeys(logs, share), size)

    def stage(self, size: int) -> StagedRequest:
        return StagedRequest(self, size)

    def accepted(self, log: str) -> int:
        return chain.start_of(self._reached, log)

    async def answer(self, key: str) -> bytes | None:
        return await self._called(lambda: self._thread.answer(key))

    async def remember(self, key: str, answer: bytes) -> None:
        """An answer apart from its append: a crash in between forgets it (see `append`)."""
        await self.submitted(Remember({key: pack_answer(answer)}))

    def release(self, subscriber: str) -> None:
        """Remove a subscription for ever: what only it held is released. Raises StoreError."""
        if unsubscribe(self._directory, subscriber):
            event(log.warning, "buffer.subscription_released", subscriber=subscriber)
        self.look()

    def look(self) -> None:
        """See how far everybody is. Where a position cannot be read, nothing more is released."""
        self._looked = self._clock.monotonic()
        try:
            subscribed = self._subscriptions.read(self._incarnation)
        except StoreError as error:
            if str(error) != self._problem:
                event(log.error, "buffer.positions_unreadable", error=str(error))
            self._problem = str(error)
            return
        self._problem = ""
        before = sum(self._holdings.of(name).bytes for name in self._holdings.logs())
        self._holdings.recount(subscribed, passed_by_all(subscribed))
        after = sum(self._holdings.of(name).bytes for name in self._holdings.logs())
        self._drain.passed(max(0, before - after), self._looked)

    async def release_files(self) -> int:
        """Unlink what everybody has passed; returns how many files."""
        if self._problem:
            return 0
        released = 0
        for file in self._holdings.passed():
            try:
                await self._called(partial(self._thread.release, file.path, damaged=file.damaged))
            except HeadraceError as error:
                event(log.warning, "buffer.release_failed", file=str(file.path), error=str(error))
                continue
            self._holdings.files.remove(file)
            released += 1
        if released:
            self._holdings.again()
        await self._seal_passed()
        return released

    async def heed_damage(self) -> None:
        """What readers found damaged is kept when it is released; the newest file is not gone on with."""
        reports = await asyncio.to_thread(damage_reports, self._directory)
        by_name = {file.path.name: file for file in self._holdings.files}
        for name, reason in reports.items():
            file = by_name.get(name)
            if file is None:
                forget_damage(self._directory, name)
            elif not file.damaged:
                file.damaged = True
                event(log.error, "buffer.file_damaged", file=str(file.path), error=reason)
                if file is self._holdings.files[-1]:
                    await self._seal(file, at_once=True)

    async def _seal_passed(self) -> None:
        """The newest file cannot go: where nobody needs a large one, a new one lets it go next time."""
        newest = self._holdings.files[-1]
        if newest.bytes * 4 < self._bounds.one_file or not newest.parts:
            return
        if newest.passed(self._holdings.least):
            await self._seal(newest, at_once=False)

    async def _seal(self, newest: FileFacts, *, at_once: bool) -> None:
        try:
            await self._called(partial(self._thread.seal, at_once=at_once))
        except HeadraceError as error:
            event(log.warning, "buffer.new_file_failed", file=str(newest.path), error=str(error))

    def status(self) -> BufferStatus:
        least = self._holdings.least
        wanted = [gap for gap in self._gaps if gap.log in least and least[gap.log] < gap.end]
        return BufferStatus(
            incarnation=self._incarnation,
            held_bytes=self._holdings.bytes,
            bytes=sum(file.bytes for file in self._holdings.files),
            files=len(self._holdings.files),
            logs=logs_of(self._holdings, self._reached, self._clock.time()),
            holder=holder_of(self._holdings),
            quarantined=[path.name for path in chain.quarantined(self._directory)],
            damaged=[file.path.name for file in self._holdings.files if file.damaged],
            missing=wanted,
            problem=self._problem,
        )

    def require_room(self, sizes: Mapping[str, int], size: int) -> None:
        refusal = self.room.refusal(sizes, size, self._clock.time())
        if refusal is not None and self._clock.monotonic() - self._looked >= LOOK_SECONDS:
            self.look()
            refusal = self.room.refusal(sizes, size, self._clock.time())
        if refusal is None and self._reserve:
            free = self._free_space()
            if free < self._reserve + size:
                refusal = self.room.no_disk(free, self._reserve, size)
        if refusal is not None:
            raise refusal

    async def submitted(self, work: Work) -> object:
        waiting = self._waiting[work] = self._running().create_future()
        self._thread.submit(work)
        return await waiting

    def staging(self, stage: Stage, *, on: bool) -> None:
        """A large request begins, or ends: meanwhile its file is gone on with."""
        self._running()
        self._thread.call(lambda: self._thread.staging(stage, on=on))

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._closing:
            raise Retryable("the buffer is closed, the server is stopping or starting")
        return self._loop

    async def _called(self, function: Callable[[], T]) -> T:
        """Run between two transactions, in the buffer's thread."""
        loop = self._running()
        waiting: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if waiting.cancelled():
                return
            if error is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(cast("T", result))

        def task() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001  raised again where it is awaited
                loop.call_soon_threadsafe(settle, None, error)
            else:
                loop.call_soon_threadsafe(settle, result, None)

        self._thread.call(task)
        return await waiting

    def _told(self, committed: Committed) -> None:
        # In the buffer's thread; its loop may be gone where the process is ending anyway.
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._account, committed)

    def _account(self, committed: Committed) -> None:
        holdings = self._holdings
        if committed.created is not None:
            path = committed.created
            holdings.files.append(FileFacts(path, chain.first_of(path), committed.bytes))
            holdings.again()
        if committed.damaged is not None:
            event(log.error, "buffer.file_damaged", file=str(committed.damaged))
            for file in holdings.files:
                file.damaged = file.damaged or file.path == committed.damaged
        for entry, size, at in committed.written:
            holdings.add(entry.log, entry.first, entry.end, size, at)
            self._reached[entry.log] = entry.end
        if committed.bytes:
            holdings.grown(committed.bytes)
        for told in committed.told:
            waiting = self._waiting.pop(told.work, None) if told.work else None
            if waiting is None or waiting.cancelled():
                continue
            if told.error is not None:
                waiting.set_exception(told.error)
            else:
                waiting.set_result(told.result)
        if committed.written:
            self._wake()
