"""The third process of `headrace run`: what indexes have in memory is on disk a second later."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api import find_index
from headrace.api import open as open_index
from headrace.core.errors import StoreError
from headrace.core.lock import RoleLock
from headrace.index.tantivy import live, store
from headrace.index.tantivy.room import DEFAULT_BASE, is_tmpfs
from headrace.index.tantivy.verify import verify
from headrace.layout import acknowledgements_directory, run_directory
from services.running import Running, free_port

pytestmark = pytest.mark.skipif(not is_tmpfs(DEFAULT_BASE), reason="there is no tmpfs at /dev/shm")

CONFIGURATION = """\
data_dir: data
server: {{ port: {port} }}
disk_reserve: 1MB
indexes:
  logs: {{ type: tantivy, live: {base} }}
"""


@pytest.fixture
def memory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir=DEFAULT_BASE))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def service(tmp_path: Path, memory: Path) -> Iterator[Running]:
    port = free_port()
    config = tmp_path / "headrace.yaml"
    config.write_text(CONFIGURATION.format(port=port, base=memory))
    running = Running(tmp_path, port, "run", str(config))
    running.until(lambda: running.raw("/health/ready")[0] == 200)
    running.until(lambda: len(_children(running)) == 3)  # the settler comes a little later
    running.until((run_directory(tmp_path / "data") / "settler.lock").exists)
    yield running
    for child in _children(running):
        os.kill(child, signal.SIGCONT)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(timeout=30)


def _children(running: Running) -> list[int]:
    if running.process.poll() is not None:
        return []
    parent = running.process.pid
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _child(running: Running, role: str) -> int:
    for each in _children(running):
        if role in Path(f"/proc/{each}/cmdline").read_text().split("\0"):
            return each
    raise AssertionError(f"no {role} runs")


def _push(running: Running, *numbers: int) -> Any:
    lines = "".join(f'{{"index":{{}}}}\n{{"n":{number}}}\n' for number in numbers)
    status, _, answer = running.push("/logs/_bulk?refresh=wait_for", lines)
    assert (200, False) == (status, answer["errors"])
    return answer


def _durable(directory: Path) -> int:
    """Documents that a power loss would leave."""
    index = store.open_engine(directory)
    return index.searcher().num_docs


def _opstamps(found: live.Live) -> tuple[int, int]:
    return store.read_meta(found.engine)["opstamp"], store.read_meta(found.durable)["opstamp"]


def test_what_is_searchable_is_on_disk_a_little_later(tmp_path: Path, service: Running, memory: Path) -> None:
    """A reader beside the service sees what is in memory; the buffer lets go of what is on disk."""
    _push(service, 1, 2, 3)
    directory = find_index(tmp_path / "data", "logs")
    with open_index(tmp_path / "data", name="logs") as index:
        assert 3 == index.count()
    found = live.find(directory)
    assert found is not None
    assert found.root.parent == memory
    service.until(lambda: len(set(_opstamps(found))) == 1)
    service.until(lambda: b"3" in b"".join(p.read_bytes() for p in _acks(tmp_path)))
    with pytest.raises(StoreError, match="in use"):
        verify(directory)


def _acks(tmp_path: Path) -> list[Path]:
    return list(acknowledgements_directory(tmp_path / "data").glob("*.json"))


def test_a_service_that_was_stopped_leaves_nothing_in_memory(
    tmp_path: Path, service: Running, memory: Path
) -> None:
    _push(service, 1, 2, 3)
    service.process.send_signal(signal.SIGTERM)
    assert 0 == service.process.wait(timeout=30)
    directory = find_index(tmp_path / "data", "logs")
    assert [] == list(memory.iterdir())
    assert [] == verify(directory).problems
    with open_index(tmp_path / "data", name="logs") as index:
        assert 3 == index.count()


def test_a_settler_that_is_killed_is_started_again(tmp_path: Path, service: Running) -> None:
    _push(service, 1)
    found = live.find(find_index(tmp_path / "data", "logs"))
    assert found is not None
    os.kill(_child(service, "settler"), signal.SIGKILL)
    _push(service, 2)
    service.until(lambda: len(set(_opstamps(found))) == 1)


def test_what_waits_for_the_settler_is_not_let_go_of(tmp_path: Path, service: Running) -> None:
    """With the settler held, records are searchable, and the buffer keeps them."""
    os.kill(_child(service, "settler"), signal.SIGSTOP)
    _push(service, 1, 2, 3)
    found = live.find(find_index(tmp_path / "data", "logs"))
    assert found is not None
    assert 3 == service.ask("/logs/_count")["count"]
    assert 0 == _durable(found.directory)
    assert b'"logs":3' not in b"".join(path.read_bytes() for path in _acks(tmp_path))


def test_one_settler_at_a_time(tmp_path: Path, service: Running) -> None:
    service.until((run_directory(tmp_path / "data") / "settler.lock").exists)
    with pytest.raises(StoreError, match="in use"):
        RoleLock(run_directory(tmp_path / "data"), "settler").acquire(wait=0)


def test_the_settler_ends_with_its_parent(service: Running) -> None:
    settler = _child(service, "settler")
    service.process.kill()
    service.process.wait()
    deadline = 200
    while Path(f"/proc/{settler}").exists() and deadline:
        deadline -= 1
        signal.sigtimedwait([], 0.05)
    assert not Path(f"/proc/{settler}").exists()


def test_a_settler_without_work_ends_and_is_not_started_again(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "headrace.yaml"
    config.write_text(CONFIGURATION.format(port=port, base="never"))
    running = Running(tmp_path, port, "run", str(config))
    running.until(lambda: len(_children(running)) == 3)
    running.until(lambda: len(_children(running)) == 2)
    assert not (run_directory(tmp_path / "data") / "settler.lock").exists()
    running.process.send_signal(signal.SIGTERM)
    assert 0 == running.process.wait(timeout=30)
