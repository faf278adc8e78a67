"""From the durable buffer to the search index, through the whole runtime."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from flow.harness import QUICK, running, until
from headrace.app import Ingester, build_ingester
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.index.tantivy import open_reader
from headrace.layout import index_directory
from headrace.settings import Settings, loads
from ingest.http_push.pushing import bulk, entry, push

pytestmark = pytest.mark.anyio


def settings(folder: Path, *pipelines: str) -> Settings:
    """Each pipeline into an index of its name; all read the log of the first."""
    configuration = {
        "data_dir": "data",
        "disk_reserve": "1MB",
        "commit_interval": "20ms",
        "indexes": {
            name: {"type": "tantivy", "memory": "32MB", "fields": {"n": "integer"}} for name in pipelines
        },
        "pipelines": {
            name: {"source": {"type": "http_push", "log": pipelines[0]}, "index": name} for name in pipelines
        },
    }
    return loads(msgspec.json.encode(configuration).decode(), "json", base=folder)


def make(made: Settings, *, once: bool = True) -> Ingester:
    return build_ingester(made, metrics=Metrics(), health=Health(), policy=QUICK, once=once)


def indexed(made: Settings, name: str) -> Counter[int]:
    """How often each record is in the index; nothing of the ledger may be missing."""
    found: Counter[int] = Counter()
    with closing(open_reader(index_directory(made.data_dir, name))) as reader:
        for frame in reader.scan(None, 1000):
            found.update(msgspec.json.decode(source)["n"] for source in frame["_source"])
        assert all(ledger.imbalance == 0 for ledger in reader.watermarks().ledgers.values())
    return found


def numbers(start: int, stop: int) -> list[bytes]:
    return [b'{"n": %d}' % n for n in range(start, stop)]


async def test_what_was_accepted_is_indexed_once_in_every_format(tmp_path: Path) -> None:
    made = settings(tmp_path, "p")
    await push(
        made.data_dir,
        bulk(*numbers(0, 10)),
        entry(b"\n".join(numbers(10, 20))),
        entry(json.dumps([{"n": n} for n in range(20, 30)]).encode(), kind="json"),
        entry(b"n\n" + b"".join(b"%d\n" % n for n in range(30, 40)), kind="csv"),
    )
    for _ in range(2):
        flow = make(made)
        await flow.run(until_finished=True)
        assert State.FINISHED is flow.health.snapshot().components["pipeline:p"].state
        assert Counter(range(40)) == indexed(made, "p")


async def test_two_pipelines_each_index_the_whole_log(tmp_path: Path) -> None:
    made = settings(tmp_path, "p", "q")
    await push(made.data_dir, *[bulk(line) for line in numbers(0, 30)])
    await make(made).run(until_finished=True)
    assert Counter(range(30)) == indexed(made, "p") == indexed(made, "q")


async def test_bad_records_are_dead_letters_and_the_ledger_balances(tmp_path: Path) -> None:
    made = settings(tmp_path, "p")
    await push(made.data_dir, bulk(b'{"n": 0}', b"nonsense", b'{"n": 1}'), entry(b'{"n": 2}\n[]'))
    flow = make(made)
    await flow.run(until_finished=True)
    assert Counter(range(3)) == indexed(made, "p")
    with closing(open_reader(index_directory(made.data_dir, "p"))) as reader:
        (ledger,) = reader.watermarks().ledgers.values()
    assert (5, 3, 2) == (ledger.read, ledger.indexed, ledger.rejected)


async def test_a_running_pipeline_indexes_what_is_pushed_meanwhile(tmp_path: Path) -> None:
    made = settings(tmp_path, "p")
    async with running(make(made, once=False)) as flow:
        owner = flow.owners["p"]
        for n in range(3):
            await push(made.data_dir, bulk(b'{"n": %d}' % n))
            await until(lambda n=n: any(at.record > n for at in owner.watermarks.visible.values()))  # type: ignore[misc]
    assert Counter(range(3)) == indexed(made, "p")
