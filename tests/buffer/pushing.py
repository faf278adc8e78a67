"""A program that appends until it is killed, and prints each record the buffer has accepted."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headrace.buffer.base import Entry
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import SystemClock

BOUNDS = Bounds(max_bytes=1 << 30, log_bytes=1 << 30, max_age=None, file_bytes=60_000)


async def client(buffer: Buffer, name: str) -> None:
    """Some requests large and staged, some small, over two logs; acknowledged means printed."""
    for n in range(1_000_000):
        lines = [f"{name}-{n}-{i}" for i in range(1 + n % 3)]
        text = "\n".join([*lines[:-1], lines[-1] + " " * (n % 7) * 100])
        entries = [Entry(log, len(lines), "ndjson", text.encode()) for log in ("a", "b")]
        if n % 10 == 5:
            staged = buffer.stage(len(text))
            for entry in entries:
                await staged.add(entry)
            appended = await staged.finish()
        else:
            appended = await buffer.append(entries)
        for at in appended:
            sys.stdout.write("".join(f"{at.log} {at.first + i} {line}\n" for i, line in enumerate(lines)))
        sys.stdout.flush()


async def main(directory: Path, run: str) -> None:
    buffer = Buffer(directory, BOUNDS, SystemClock())
    await buffer.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(buffer.run())
        for number in range(4):
            tasks.create_task(client(buffer, f"{run}.{number}"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
