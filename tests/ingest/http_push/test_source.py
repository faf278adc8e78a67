"""Reading a log: resumed where it was committed, woken by a knock, honest about what is gone."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import anyio
import pytest

from headrace.buffer import chain
from headrace.buffer.acks import subscribe, subscriptions
from headrace.buffer.base import partition_of
from headrace.buffer.wake import Waker
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import SystemClock
from headrace.core.errors import EndOfInput, Fatal
from headrace.ingest.http_push.source import HttpPushSource
from headrace.ingest.http_push.waking import sign_of
from headrace.layout import buffer_directory, wake_path
from headrace.model import Position, RawBatch
from ingest.http_push.pushing import LARGE, bulk, drain, make, push, records
from tick import TickClock

pytestmark = pytest.mark.anyio

SMALL = Bounds(max_bytes=1 << 28, log_bytes=1 << 28, max_age=None, file_bytes=1)
"""A file of the chain for nearly every request."""


def one(n: int) -> bytes:
    return b'{"n": %d}' % n


async def rest(source: HttpPushSource) -> list[RawBatch]:
    got: list[RawBatch] = []
    try:
        while True:
            got.append(await source.read())
    except EndOfInput:
        return got


async def test_only_the_last_batch_of_what_is_there_says_so(tmp_path: Path) -> None:
    await push(tmp_path, *[bulk(one(n)) for n in range(10)])
    got = await drain(make(tmp_path, batch_bytes=25))
    assert len(got) > 2
    assert [*[False] * (len(got) - 1), True] == [raw.caught_up for raw in got]


async def test_two_pipelines_on_one_log_each_get_every_record(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(1)), bulk(one(2)), bulk(one(3), log="other"))
    first, second = await drain(make(tmp_path)), await drain(make(tmp_path, pipeline="q", log="p"))
    assert {0: {"n": 1}, 1: {"n": 2}} == records(first) == records(second)
    assert {"push p"} == {raw.origin for raw in [*first, *second]}


async def test_an_index_made_at_run_time_is_called_by_its_name(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(1), log="an-uuid"))
    (raw,) = await drain(make(tmp_path, pipeline="push:books", log="an-uuid"))
    assert "push books" == raw.origin


async def test_an_entry_committed_in_part_comes_again_whole(tmp_path: Path) -> None:
    incarnation = await push(tmp_path, bulk(one(0)), bulk(one(1), one(2), one(3)))
    partition = partition_of(incarnation, "p")
    (raw,) = await drain(make(tmp_path), {partition: Position(2)})
    assert (1, 4) == (raw.first_record, raw.position.record)


async def test_a_position_beyond_the_end_is_fatal_and_explained(tmp_path: Path) -> None:
    incarnation = await push(tmp_path, bulk(one(0)))
    with pytest.raises(Fatal, match=r"committed the first 5 records of log 'p'.*holds only 1.*older copy"):
        await drain(make(tmp_path), {partition_of(incarnation, "p"): Position(5)})


async def test_another_buffer_is_read_from_its_start_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = partition_of(await push(tmp_path, bulk(one(0))), "p")
    shutil.rmtree(buffer_directory(tmp_path))
    new = partition_of(await push(tmp_path, bulk(one(7))), "p")
    with caplog.at_level(logging.WARNING):
        got = await drain(make(tmp_path), {old: Position(1)})
    assert {0: {"n": 7}} == records(got)
    assert [new] == [raw.partition for raw in got] != [old]
    assert ["http_push.buffer_replaced"] == [record.message.split()[0] for record in caplog.records]


async def test_a_lost_file_is_said_aloud_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await push(tmp_path, *[bulk(one(n)) for n in range(6)], bounds=SMALL)
    files = chain.files(buffer_directory(tmp_path))
    assert len(files) > 2
    chain.quarantine(files[1])
    source = make(tmp_path)
    await source.open({})
    with caplog.at_level(logging.WARNING):
        got = await rest(source)
    lost = set(range(6)) - set(records(got))
    assert lost
    assert len(lost) == source.lost
    await source.close()
    (said,) = [record for record in caplog.records if record.message.startswith("http_push.records_lost")]
    assert logging.ERROR == said.levelno
    assert f"first={min(lost)} last={max(lost)}" in said.message


async def test_before_there_is_a_buffer_it_waits_for_one(tmp_path: Path) -> None:
    source = make(tmp_path, once=False)
    await source.open({})
    with anyio.move_on_after(0.05):
        await source.read()
    await push(tmp_path, bulk(one(0)))
    with anyio.fail_after(3):
        assert {0: {"n": 0}} == records([await source.read()])
    await source.close()


async def test_a_single_pass_ends_after_what_was_there_at_its_start(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(0)))
    source = make(tmp_path)
    await source.open({})
    assert {0: {"n": 0}} == records([await source.read()])
    await push(tmp_path, bulk(one(1)))
    with pytest.raises(EndOfInput):
        await source.read()
    await source.close()


async def test_a_knock_wakes_all_who_read_and_the_socket_goes_with_the_last(tmp_path: Path) -> None:
    """The clock stands still, so that nothing but the knock can wake them."""
    directory, path = buffer_directory(tmp_path), wake_path(tmp_path)
    directory.mkdir()
    waker = Waker(path)
    buffer = Buffer(directory, LARGE, SystemClock(), wake=waker)
    await buffer.open()
    clock = Still()
    sources = [
        make(tmp_path, once=False, clock=clock),
        make(tmp_path, pipeline="q", log="p", once=False, clock=clock),
    ]
    got = []
    for source in sources:
        await source.open({})

    async def read(source: object) -> None:
        got.append(await source.read())  # type: ignore[attr-defined]

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            for source in sources:
                tasks.start_soon(read, source)
            await clock.waited.wait()
            await buffer.append([bulk(one(5))])
    assert [{0: {"n": 5}}] * 2 == [records([raw]) for raw in got]
    await sources[0].close()
    assert path.exists()
    await sources[1].close()
    assert not path.exists()
    await buffer.close()
    waker.close()


class Still(TickClock):
    """Time does not pass."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waited.set()
        await anyio.sleep_forever()


class Stop(Exception):
    pass


class Counting(TickClock):
    """Time passes at once; the test ends after so many waits."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if len(self.slept) > 60:
            raise Stop


async def test_it_looks_soon_while_pushes_come_and_rarely_when_none_do(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(0)))
    clock = Counting()
    source = make(tmp_path, once=False, clock=clock)
    await source.open({})
    await source.read()
    with pytest.raises(Stop):
        await source.read()
    await source.close()
    assert 0.02 == max(clock.slept[:49])
    assert {0.25} == set(clock.slept[52:])


def aged(data_dir: Path) -> None:
    """As if the last append had been an hour ago."""
    for path in buffer_directory(data_dir).iterdir():
        os.utime(path, (1_000_000, 1_000_000))


async def test_an_append_changes_the_sign_and_a_fresh_change_has_none(tmp_path: Path) -> None:
    directory = buffer_directory(tmp_path)
    assert sign_of(directory) is None
    await push(tmp_path, bulk(one(0)))
    assert sign_of(directory) is None
    aged(tmp_path)
    before = sign_of(directory)
    assert before is not None
    assert before == sign_of(directory)
    await push(tmp_path, bulk(one(1), log="other"))
    assert before != sign_of(directory)


async def test_an_append_that_nobody_knocked_for_is_found_by_an_idle_source(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(0)))
    aged(tmp_path)
    clock = Counting()
    source = make(tmp_path, once=False, clock=clock)
    await source.open({})
    await source.read()
    with pytest.raises(Stop):
        await source.read()
    await push(tmp_path, bulk(one(1)))
    clock.slept.clear()
    assert {1: {"n": 1}} == records([await source.read()])
    await source.close()


async def test_durable_positions_are_told_to_the_buffer_once_it_asks(tmp_path: Path) -> None:
    directory = buffer_directory(tmp_path)
    incarnation = await push(tmp_path, bulk(one(0)), bulk(one(1)))
    subscribe(directory, "p", "p")
    source = make(tmp_path)
    await source.open({})
    raw = await source.read()
    await source.acknowledge({raw.partition: Position(1), "another": Position(9)})
    assert {"p": {"p": 1}} == subscriptions(directory, incarnation=incarnation)
    await source.acknowledge({raw.partition: Position(2)})
    assert {"p": {"p": 2}} == subscriptions(directory, incarnation=incarnation)
    await source.close()


async def test_the_lag_counts_what_is_accepted_and_not_handed_out(tmp_path: Path) -> None:
    await push(tmp_path, bulk(one(0)), bulk(one(1)))
    source = make(tmp_path, batch_bytes=1)
    assert source.lag() is None
    await source.open({})
    await source.read()
    assert 1 == source.lag()
    await push(tmp_path, bulk(one(2), one(3)))
    assert 3 == source.lag()
    await source.close()


def test_it_promises_that_nothing_is_lost_and_numbers_stay() -> None:
    guarantee = make(Path("nowhere")).guarantee
    assert (True, True, "") == (guarantee.replayable, guarantee.stable_ids, guarantee.losses)
