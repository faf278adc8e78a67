"""A full disk under the buffer: the request that does not fit is refused whole, and the next one works."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened
from headrace.buffer.acks import acknowledge, subscribe, subscriptions
from headrace.buffer.writer import Bounds
from headrace.core.errors import Retryable

pytestmark = [pytest.mark.service, pytest.mark.anyio]

BOUNDS = Bounds(max_bytes=100 * MB, log_bytes=100 * MB, max_age=None, file_bytes=2 * MB)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """12 MB of tmpfs; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if mount else None
    if done is None or done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip() if done else 'no mount command'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_and_forgets_nothing(small: Path) -> None:
    """Nothing half-written; small requests beside a large one are taken; it goes on once there is room."""
    subscribe(small, "p", "a")
    noise = random.Random(1)
    accepted: list[str] = []
    filler = small / "filler"
    filler.write_bytes(bytes(200_000))
    async with opened(small, BOUNDS) as buffer:
        refused = 0
        for _ in range(60):
            line = noise.randbytes(250_000).hex()
            try:
                [at] = await buffer.append([entry("a", line)])
            except Retryable:
                refused += 1
                continue
            assert len(accepted) == at.first
            accepted.append(line)
        assert refused > 5
        assert accepted == bodies(small, "a")
        with pytest.raises(Retryable, match=r"free some space"):
            acknowledge(small, "p", {"a": 1}, incarnation=buffer.incarnation)
        assert {"p": {"a": 0}} == subscriptions(small)
        filler.unlink()
        acknowledge(small, "p", {"a": len(accepted)}, incarnation=buffer.incarnation)
        buffer.look()
        await buffer.release_files()
        for n in range(5):
            [at] = await buffer.append([entry("a", f"after {n}")])
            assert len(accepted) == at.first
            accepted.append(f"after {n}")
    async with opened(small, BOUNDS) as buffer:
        assert len(accepted) == buffer.accepted("a")
        assert accepted[-5:] == bodies(small, "a", len(accepted) - 5)
        assert [] == buffer.status().quarantined
