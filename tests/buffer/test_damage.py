"""Damaged files: what can be read is read as it was written, the rest is named, and the buffer goes on."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened
from headrace.buffer import chain
from headrace.buffer.acks import acknowledge, damage_reports, report_damage, subscribe
from headrace.buffer.opening import JUMP
from headrace.buffer.reader import LogReader, Lost, open_log
from headrace.buffer.writer import Bounds
from headrace.core.errors import Retryable, StoreError

pytestmark = pytest.mark.anyio

BOUNDS = Bounds(max_bytes=100 * MB, log_bytes=100 * MB, max_age=None, file_bytes=60_000)
NOISE = random.Random(3)


async def written(directory: Path, count: int = 30) -> list[str]:
    """A buffer of about three files, all of it wanted by somebody, closed; what is in log `a`."""
    subscribe(directory, "p", "a")
    lines = [f"{n}:" + NOISE.randbytes(1500).hex() for n in range(count)]
    async with opened(directory, BOUNDS) as buffer:
        for line in lines:
            await buffer.append([entry("a", line), entry("b", line)])
    assert len(chain.files(directory)) >= 3
    return lines


def survey(reader: LogReader, log: str, end: int) -> tuple[dict[int, str], list[range]]:
    """All that is readable of a log, and which ranges are said to be lost: together, every number."""
    found: dict[int, str] = {}
    lost: list[range] = []
    at = 0
    while at < end:
        try:
            more = reader.read(at, size=20_000)
        except Lost as error:
            span = range(error.first, error.end)
        else:
            span = range(0)
        if span:
            assert at == span.start
            lost.append(span)
            at = span.stop
            continue
        assert more, f"nothing at {at} of {end}, and no reason"
        for item in more:
            assert at == item.first
            found.update(enumerate(item.entry.body.decode().split("\n"), at))
            at = item.end
    return found, lost


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 0x5A]))


@pytest.mark.parametrize("which", [0, 1, -1], ids=["oldest", "middle", "newest"])
async def test_one_bad_byte_anywhere_costs_one_file_at_most(tmp_path: Path, which: int) -> None:
    """In each page of a file: no record is read wrongly, all others are read, and appending goes on."""
    good = tmp_path / "good"
    lines = await written(good)
    files = chain.files(good)
    size = files[which].stat().st_size
    dice = random.Random(5)
    outcomes = {"untouched": 0, "lost": 0}
    for page in range(0, size, 4096):
        for offset in {0: [3, 18, 50, 100, 105], 4096: [4096, 4100]}.get(page, [page + dice.randrange(4096)]):
            copy = tmp_path / "copy"
            shutil.copytree(good, copy)
            bad = copy / files[which].name
            damage(bad, offset)
            async with opened(copy, BOUNDS) as buffer:
                [at, _] = await buffer.append([entry("a", "next"), entry("b", "next")])
                reader = open_log(copy, "a")
                found, lost = survey(reader, "a", at.end)
                assert "next" == found.pop(at.first)
                assert at.first == len(lines) or at.first >= JUMP, offset
                for number, text in found.items():
                    assert lines[number] == text, offset
                gone = [number for number in range(len(lines)) if number not in found]
                assert all(any(number in span for span in lost) for number in gone)
                outcomes["lost" if lost else "untouched"] += 1
                status = buffer.status()
                assert bool(lost) <= bool(status.missing or status.quarantined or damage_reports(copy))
                reader.close()
                in_other_files = [n for n in range(len(lines)) if not _holds(files[which], n)]
                assert [] == [n for n in in_other_files if n not in found], offset
            shutil.rmtree(copy)
    assert outcomes["lost"] > 3


def _holds(path: Path, number: int) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        query = "SELECT count(*) FROM entry WHERE log = 'a' AND first = ?"
        return bool(database.execute(query, (number,)).fetchone()[0])


@pytest.mark.parametrize("kept", [0, 10, 4096, 30_000])
async def test_a_truncated_file_is_put_aside_or_read_as_far_as_it_goes(tmp_path: Path, kept: int) -> None:
    """Records of the other files stay, and those that are gone are named with their numbers."""
    lines = await written(tmp_path)
    bad = chain.files(tmp_path)[1]
    gone = {n for n in range(len(lines)) if _holds(bad, n)}
    with bad.open("r+b") as file:
        file.truncate(kept)
    async with opened(tmp_path, BOUNDS) as buffer:
        reader = open_log(tmp_path, "a")
        found, lost = survey(reader, "a", buffer.accepted("a"))
        reader.close()
        assert {n: line for n, line in enumerate(lines) if n not in gone}.items() <= found.items()
        assert lost
        assert {n for span in lost for n in span} <= gone
        if not bad.exists():
            assert [f"{bad.name}.corrupt"] == buffer.status().quarantined
            assert [("a", min(gone), max(gone) + 1)] == [
                (m.log, m.first, m.end) for m in buffer.status().missing
            ]


async def test_a_file_missing_from_the_middle_is_reported(tmp_path: Path) -> None:
    """Somebody deleted it: the log says which records nobody will see, for as long as they are wanted."""
    lines = await written(tmp_path)
    bad = chain.files(tmp_path)[1]
    gone = [n for n in range(len(lines)) if _holds(bad, n)]
    bad.unlink()
    async with opened(tmp_path, BOUNDS) as buffer:
        [missing] = buffer.status().missing
        assert ("a", gone[0], gone[-1] + 1) == (missing.log, missing.first, missing.end)
        with pytest.raises(Lost, match=r"reading can go on at"):
            open_log(tmp_path, "a").read(gone[0], size=1000)
        assert lines[gone[-1] + 1 :] == bodies(tmp_path, "a", gone[-1] + 1)


async def test_no_number_is_given_twice_after_the_newest_file_was_lost(tmp_path: Path) -> None:
    """What it gave away nobody knows: all logs, also ones it saw first, go on far ahead (PROTOCOL 12)."""
    lines = await written(tmp_path)
    newest = chain.files(tmp_path)[-1]
    with newest.open("r+b") as file:
        file.write(b"\0" * 4096)
    for round_ in range(2):
        async with opened(tmp_path, BOUNDS) as buffer:
            for log in ("a", "unknown until now"):
                [at] = await buffer.append([entry(log, "new")])
                assert JUMP <= at.first < JUMP + len(lines) + 2
                assert at.first == buffer.accepted(log) - 1
            assert 1 == len(buffer.status().quarantined), round_


async def test_a_buffer_whose_only_file_is_lost_is_another_buffer(tmp_path: Path) -> None:
    """Its numbers are unknown, so its partitions get another name; the bad file is kept (PROTOCOL 9)."""
    async with opened(tmp_path) as buffer:
        await buffer.append([entry("a", "1")])
        before = buffer.incarnation
    reader = open_log(tmp_path, "a")
    assert before == reader.incarnation
    chain.files(tmp_path)[0].write_bytes(b"no database")
    async with opened(tmp_path) as buffer:
        assert before != buffer.incarnation
        await buffer.append([entry("a", "first of another")])
        with pytest.raises(StoreError, match=r"replaced"):
            reader.read(0, size=1000)
        assert ["first of another"] == bodies(tmp_path, "a")
        assert 1 == len(buffer.status().quarantined)


async def test_a_newest_file_found_damaged_by_a_reader_is_not_gone_on_with(tmp_path: Path) -> None:
    """The reader waits until the writer goes on in a new file, then learns what was lost and goes on."""
    subscribe(tmp_path, "p", "a")
    async with opened(tmp_path) as buffer:
        for n in range(5):
            await buffer.append([entry("a", f"{n}:" + NOISE.randbytes(6000).hex())])
    newest = chain.files(tmp_path)[-1]
    async with opened(tmp_path) as buffer:
        with newest.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (newest.stat().st_size - 4096))
        reader = open_log(tmp_path, "a")
        with pytest.raises(Retryable, match=r"the server will go on in a new file"):
            reader.read(0, size=1000)
        await buffer.heed_damage()
        assert [newest.name] == buffer.status().damaged
        await buffer.append([entry("a", "next")])
        with pytest.raises(Lost) as lost:
            reader.read(0, size=1000)
        assert (0, 5) == (lost.value.first, lost.value.end)
        assert ["next"] == [item.entry.body.decode() for item in reader.read(5, size=1000)]
        reader.close()


async def test_a_size_that_lies_takes_no_memory(tmp_path: Path) -> None:
    """Content that decompresses to more, or less, than was stored is damage, whatever its checksum says."""
    from headrace.buffer.base import Entry
    from headrace.buffer.rows import Damaged, Row, checksum_at, pack, unpack

    packed = pack(Entry("a", 1, "ndjson", b"x" * 100_000))
    for size in (packed.size - 1, packed.size + 1, 10, 1 << 40):
        lying = packed._replace(size=size)
        import zlib

        about = f"{lying.kind}\0{lying.coding}\0{lying.head}\0{size}\0"
        checksum = checksum_at(zlib.crc32(lying.content, zlib.crc32(about.encode())), "a", 0, 1, 1.0)
        row = Row("a", 0, 1, 1.0, checksum, lying.kind, lying.coding, lying.head, size, bytes(lying.content))
        with pytest.raises(Damaged):
            unpack(row)


async def test_a_position_beyond_the_end_is_a_fatal_explained_state(tmp_path: Path) -> None:
    """Never a silent wait: the buffer is older than the index (PROTOCOL 9)."""
    async with opened(tmp_path) as buffer:
        await buffer.append([entry("a", "1")])
        reader = open_log(tmp_path, "a")
        assert [] == reader.read(1, size=1000)
        with pytest.raises(StoreError, match=r"position 2 is beyond the end of log 'a' \(1\)"):
            reader.read(2, size=1000)
        reader.close()


async def test_a_file_found_damaged_is_put_aside_and_not_deleted(tmp_path: Path) -> None:
    """What could be read of it was read; the file itself is kept for whoever wants to look."""
    await written(tmp_path)
    bad = chain.files(tmp_path)[0]
    async with opened(tmp_path, BOUNDS) as buffer:
        report_damage(tmp_path, bad, "checksum mismatch")
        await buffer.heed_damage()
        assert [bad.name] == buffer.status().damaged
        acknowledge(tmp_path, "p", {"a": buffer.accepted("a")}, incarnation=buffer.incarnation)
        buffer.look()
        assert await buffer.release_files() > 1
        await buffer.heed_damage()
        assert [] == buffer.status().damaged
        assert [f"{bad.name}.corrupt"] == buffer.status().quarantined
        assert {} == damage_reports(tmp_path)
