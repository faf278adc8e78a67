"""One log of the buffer as batches, synchronously: runs in a worker thread, one look at a time.

The partition is known once there is a buffer, and its name holds that buffer's identity: positions in another
one say nothing about this one's records.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headrace.buffer import chain
from headrace.buffer.base import Stored, partition_of
from headrace.buffer.reader import Lost, open_log
from headrace.core.errors import Fatal
from headrace.core.log import event
from headrace.ingest.formats.base import FormatOptions, Hints
from headrace.ingest.http_push.merge import Merger
from headrace.model import Position, RawBatch

log = logging.getLogger(__name__)


class Log:
    """`ready` holds what was read and not handed out; `lost` counts records that could not be read."""

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        pipeline: str,
        origin: str,
        options: FormatOptions,
        hints: Hints,
        batch_bytes: int,
        resume_after: Mapping[str, Position],
    ) -> None:
        self.name = name
        self.ready: deque[RawBatch] = deque()
        self.partition = ""
        self.incarnation = ""
        self.after = 0
        self.known_end = 0
        self.lost = 0
        self._directory = directory
        self._pipeline = pipeline
        self._origin = origin
        self._options = options
        self._hints = hints
        self._batch_bytes = batch_bytes
        self._resume_after = resume_after
        self._resumed = False
        self._reader = open_log(directory, name)
        self._merger: Merger | None = None

    def begin(self) -> bool:
        """Go to the committed position; False as long as there is no buffer. Raises Fatal, Retryable."""
        if self._merger is not None:
            return True
        incarnation = self._reader.incarnation
        if not incarnation:
            return False
        partition = partition_of(incarnation, self.name)
        self.known_end = self._reader.end()
        position = self._resume_after.get(partition)
        if position is not None:
            self._resume(position)
        self._report_other_buffers(partition)
        self.incarnation, self.partition = incarnation, partition
        self._merger = Merger(partition, self._origin, self._options, self._hints, self._batch_bytes)
        return True

    def look(self) -> None:
        """Read up to a batch's worth into `ready`. Raises Fatal, Retryable."""
        if not self.begin() or self._merger is None:
            return
        stored, drained = self._read()
        batches = list(self._merger.batches(stored))
        if batches and drained:
            batches[-1] = replace(batches[-1], caught_up=True)
        # Together, at the end: a look that fails half way has moved nothing.
        self.ready.extend(batches)
        if stored:
            self.after = stored[-1].end

    def close(self) -> None:
        self._reader.close()

    def _read(self) -> tuple[list[Stored], bool]:
        """Entries from `after` on, and whether there were no more."""
        stored: list[Stored] = []
        size, at = 0, self.after
        while size < self._batch_bytes:
            try:
                more = self._reader.read(at, size=self._batch_bytes - size)
            except Lost as lost:
                if stored:
                    return stored, False
                self._leave_out(lost)
                at = self.after
                continue
            if not more:
                self.known_end = at
                return stored, True
            stored += more
            size += sum(len(one.entry.body) + len(one.entry.head) for one in more)
            at = more[-1].end
        self.known_end = self._reader.end()
        return stored, at >= self.known_end

    def _resume(self, position: Position) -> None:
        if position.record > self.known_end:
            raise Fatal(
                f"pipeline {self._pipeline} has committed the first {position.record:,} records of log "
                f"{self.name!r}, and the buffer in {self._directory} holds only {self.known_end:,}: it is an "
                "older copy; put the newer one back, or delete the folder of the index and index anew"
            )
        self.after = position.record
        self._resumed = True

    def _report_other_buffers(self, partition: str) -> None:
        for other, position in self._resume_after.items():
            if other != partition and other.startswith("push:") and other.endswith(f":{self.name}"):
                event(
                    log.warning,
                    "http_push.buffer_replaced",
                    pipeline=self._pipeline,
                    was=other,
                    committed=position.record,
                    now=partition,
                )

    def _leave_out(self, lost: Lost) -> None:
        """Records that are nowhere: said aloud, once, and never passed over in silence."""
        # Who subscribes late finds the oldest released, which is nobody's loss; a damaged file is.
        late = not self._resumed and self.after == 0 and not chain.quarantined(self._directory)
        event(
            log.warning if late else log.error,
            "http_push.began_late" if late else "http_push.records_lost",
            pipeline=self._pipeline,
            log=self.name,
            first=lost.first,
            last=lost.end - 1,
            records=lost.end - lost.first,
            reason=lost.reason,
        )
        if not late:
            self.lost += lost.end - lost.first
        self.after = lost.end
