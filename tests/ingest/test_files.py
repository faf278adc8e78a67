"""The source `files`: order, identity, restart after every batch, rotation, and what wrong files say."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import cramjam
import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError, EndOfInput, Fatal
from headrace.ingest import files
from headrace.ingest.base import SourceContext
from headrace.ingest.files.source import FileSource, Stdin
from headrace.model import RECORD, Position, RawBatch

pytestmark = pytest.mark.anyio

Id = tuple[str, int]


class Idle(Exception):
    """Nothing came for as long as the test was ready to wait."""


class QuickClock:
    """Time passes at once; a wait of more than `patience` seconds in all is Idle."""

    def __init__(self, patience: float = 10.0) -> None:
        self.now = 1000.0
        self.patience = patience
        self.until = self.now + patience

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()
        if self.now > self.until:
            self.until = self.now + self.patience
            raise Idle


def make(
    base: Path, *, batch_bytes: int = 200, clock: Any = None, hints: Any = None, **options: Any
) -> FileSource:
    settings = msgspec.convert(options, files.Settings)
    context = SourceContext("p", base, clock or QuickClock(), hints or {}, batch_bytes, data_dir=base)
    return files.create(settings, context)


async def read_all(
    source: FileSource, resume: Mapping[str, Position] | None = None, most: int = 10**6
) -> tuple[list[RawBatch], dict[str, Position]]:
    """Batches up to the end (or until nothing comes), and the positions after them."""
    await source.open(resume or {})
    got = await more(source, most)
    await source.close()
    return got, {**(resume or {}), **{raw.partition: raw.position for raw in got}}


async def more(source: FileSource, most: int = 10**6) -> list[RawBatch]:
    got: list[RawBatch] = []
    try:
        while len(got) < most:
            got.append(await source.read())
    except (EndOfInput, Idle):
        pass
    return got


def records(batches: list[RawBatch]) -> dict[Id, dict[str, Any]]:
    """Every record by identity; one that came twice is an error."""
    found: dict[Id, dict[str, Any]] = {}
    for raw in batches:
        decoded = raw.decoder.decode(raw)
        assert decoded.rejections == ()
        for frame in decoded.frames:
            for row in frame.to_dicts():
                number = row.pop(RECORD)
                assert (raw.partition, number) not in found
                assert raw.first_record <= number < raw.position.record
                found[raw.partition, number] = row
    return found


def ns(batches: list[RawBatch]) -> list[int]:
    """The field `n` of every record, in order of arrival."""
    return [
        row["n"]
        for raw in batches
        for frame in raw.decoder.decode(raw).frames
        for row in sorted(frame.to_dicts(), key=lambda row: int(row[RECORD]))
    ]


def jsonl(*numbers: int) -> bytes:
    return b"".join(b'{"n":%d,"text":"value %d"}\n' % (n, n) for n in numbers)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer, row_group_size=20)
    return buffer.getvalue()


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_ipc(buffer, record_batch_size=20)
    return buffer.getvalue()


ROWS: list[dict[str, Any]] = [{"n": n, "text": f"value {n}"} for n in range(60)]

FORMATS: dict[str, Callable[[], bytes]] = {
    "ndjson": lambda: jsonl(*range(60)),
    "json": lambda: json.dumps(ROWS, indent=1).encode(),
    "csv": lambda: pl.DataFrame(ROWS).write_csv(quote_style="non_numeric").encode(),
    "tsv": lambda: pl.DataFrame(ROWS).write_csv(separator="\t", line_terminator="\r\n").encode(),
    "parquet": lambda: _parquet(ROWS),
    "arrow": lambda: _arrow(ROWS),
}


def _zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", data)
    return buffer.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "gzip of two members": lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:]),
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": _zipped,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", FORMATS)
async def test_nothing_is_lost_or_repeated_when_restarted_after_each_batch(
    tmp_path: Path, kind: str, compression: str
) -> None:
    (tmp_path / "data").write_bytes(COMPRESSIONS[compression](FORMATS[kind]()))
    whole, _ = await read_all(make(tmp_path, paths=["data"]))
    expected = records(whole)
    assert ROWS == list(expected.values())
    assert len(whole) > 3
    positions: dict[str, Position] = {}
    pieces: list[RawBatch] = []
    for _ in range(len(whole) + 1):
        got, positions = await read_all(make(tmp_path, paths=["data"]), _stored(positions), most=1)
        pieces += got
    assert expected == records(pieces)
    assert [] == (await read_all(make(tmp_path, paths=["data"]), _stored(positions)))[0]


def _stored(positions: Mapping[str, Position]) -> dict[str, Position]:
    """Positions as they come back from the index: through JSON."""
    return {name: Position(**json.loads(msgspec.json.encode(at))) for name, at in positions.items()}


async def test_files_are_read_in_sorted_order_and_the_last_batch_says_so(tmp_path: Path) -> None:
    for name, number in (("b.ndjson", 2), ("a.ndjson", 1), ("c.ndjson", 3)):
        (tmp_path / name).write_bytes(jsonl(number))
    got, positions = await read_all(make(tmp_path, paths=["*.ndjson"]))
    assert [1, 2, 3] == ns(got)
    assert [False, False, True] == [raw.caught_up for raw in got]
    assert [f"{tmp_path}/{name}.ndjson#0" for name in "abc"] == list(positions)


async def test_folders_and_zip_members_are_partitions_of_their_own(tmp_path: Path) -> None:
    inner = tmp_path / "logs" / "deep"
    inner.mkdir(parents=True)
    (inner / "x.ndjson").write_bytes(jsonl(1))
    (inner / ".hidden").write_bytes(jsonl(9))
    with zipfile.ZipFile(inner / "y.bin", "w") as archive:
        archive.writestr("two", jsonl(2))
        archive.writestr("three", jsonl(3))
    got, positions = await read_all(make(tmp_path, paths=["logs"]))
    assert [f"{inner}/x.ndjson#0", f"{inner}/y.bin!three#0", f"{inner}/y.bin!two#0"] == list(positions)
    assert [1, 3, 2] == ns(got)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n", []),
        (b'{"n":1}', [1]),
        (b'\xef\xbb\xbf{"n":1}\r\n{"n":2}\r\n', [1, 2]),
        (b"\xef\xbb\xbfn,m\r\n1,x\r\n2,y", [1, 2]),
        (b"[]", []),
        (b"\n[\n]\n", []),
    ],
)
async def test_small_and_odd_files_are_read_as_they_are(
    tmp_path: Path, data: bytes, expected: list[int]
) -> None:
    (tmp_path / "a").write_bytes(data)
    assert expected == ns((await read_all(make(tmp_path, paths=["a"])))[0])


async def test_a_csv_file_of_only_a_header_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"n,m\n")
    assert [] == (await read_all(make(tmp_path, paths=["a.csv"])))[0]


async def test_a_csv_layout_is_inferred_once_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n;zip\n1;01234\n2;99999\n")
    _, positions = await read_all(make(tmp_path, paths=["a.csv"]))
    with path.open("a") as file:
        file.write("x;7\n3;8\n")
    got, _ = await read_all(make(tmp_path, paths=["a.csv"]), _stored(positions))
    assert [{"n": "x", "zip": "7"}, {"n": 3, "zip": "8"}] == sorted(
        records(got).values(), key=lambda r: r["zip"]
    )


async def test_a_changed_file_is_a_new_epoch_and_an_unchanged_one_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(jsonl(1, 2))
    _, positions = await read_all(make(tmp_path, paths=["a.ndjson"]))
    (tmp_path / "copy").write_bytes(path.read_bytes())
    (tmp_path / "copy").replace(path)  # another inode, the same content
    assert [] == (await read_all(make(tmp_path, paths=["a.ndjson"]), positions))[0]
    path.write_bytes(jsonl(5))
    got, positions = await read_all(make(tmp_path, paths=["a.ndjson"]), positions)
    assert {(f"{path}#1", 0): {"n": 5, "text": "value 5"}} == records(got)
    path.write_bytes(jsonl(7))
    assert f"{path}#2" in (await read_all(make(tmp_path, paths=["a.ndjson"]), positions))[1]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_a_renamed_file_keeps_its_partition_also_when_compressed(
    tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(*range(5)))
    got, positions = await read_all(make(tmp_path, paths=["a.log*"], batch_bytes=60), most=1)
    first = ns(got)
    (tmp_path / "a.log.1").write_bytes(COMPRESSIONS[compression](jsonl(*range(5))))
    path.write_bytes(jsonl(100))
    got, _ = await read_all(make(tmp_path, paths=["a.log*"]), _stored(positions))
    assert [*range(5), 100] == first + ns(got)
    assert {f"{path}#0", f"{path}#1"} == {raw.partition for raw in got}


async def test_a_cancelled_read_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(jsonl(*range(60)))
    source = make(tmp_path, paths=["a"])
    await source.open({})
    got: list[RawBatch] = []
    for turn in range(1000):
        with anyio.CancelScope() as scope:
            if turn % 2:
                scope.cancel()
            try:
                got.append(await source.read())
            except EndOfInput:
                break
    await source.close()
    await source.close()
    assert list(range(60)) == ns(got)


async def test_sample_gives_the_first_batch_without_moving(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(jsonl(*range(60)))
    source = make(tmp_path, paths=["a"])
    sample = await source.sample()
    assert sample is not None
    assert 0 == sample.first_record
    assert ROWS == list(records((await read_all(source))[0]).values())


async def test_closing_without_opening_is_safe(tmp_path: Path) -> None:
    await make(tmp_path, paths=["a"]).close()


async def test_lag_counts_the_bytes_left(tmp_path: Path) -> None:
    data = jsonl(*range(60))
    (tmp_path / "a").write_bytes(data)
    source = make(tmp_path, paths=["a"])
    await source.open({})
    assert len(data) == source.lag()
    raw = await source.read()
    assert len(data) - raw.size == source.lag()
    await more(source)
    assert 0 == source.lag()
    await source.close()


# --- wrong inputs ----------------------------------------------------------------------------------------


async def test_a_missing_file_is_named_with_the_folder_it_was_looked_for_in(tmp_path: Path) -> None:
    source = make(tmp_path, paths=["nope.csv"])
    for attempt in (source.sample(), source.open({})):
        with pytest.raises(
            ConfigError, match=f"no such file: 'nope.csv', relative paths start from {tmp_path}"
        ) as e:
            await attempt
        assert ("paths", 0) == e.value.path


@pytest.mark.parametrize("given", ["*.csv", "empty"])
async def test_a_glob_or_folder_without_files_is_said(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no file matches"):
        await make(tmp_path, paths=[given]).open({})


def _damaged(data: bytes) -> Iterator[tuple[str, bytes, str]]:
    yield "gzip", gzip.compress(data)[:-40], "gzip stream ends early"
    yield "gzip", gzip.compress(data) + b"garbage", "has bytes that are not gzip"
    yield "bz2", bz2.compress(data)[:-40], "bz2 stream ends early"
    yield "xz", lzma.compress(data)[:-40], "xz stream ends early"
    yield "zstd", bytes(cramjam.zstd.compress(data))[:-40], "zstd stream ends early"
    yield "parquet", b"PAR1" + data, "parquet file cannot be read"
    yield "zip", _zipped(data)[:-40], "ZIP archive cannot be read"


@pytest.mark.parametrize(("kind", "data", "message"), list(_damaged(jsonl(*range(60)))))
async def test_a_damaged_file_gives_what_is_good_and_fails_after_the_others(
    tmp_path: Path, kind: str, data: bytes, message: str
) -> None:
    (tmp_path / "a.bad").write_bytes(data)
    (tmp_path / "b.good").write_bytes(jsonl(1000))
    source = make(tmp_path, paths=["a.bad", "b.good"])
    await source.open({})
    got: list[RawBatch] = []
    with pytest.raises(Fatal, match=rf"a\.bad: .*{message}") as error:  # noqa: PT012  the reads before it are the point
        while True:
            got.append(await source.read())
    await source.close()
    found = ns(got)
    assert 1000 == found[-1]
    assert list(range(len(found) - 1)) == found[:-1]
    assert "replace the file and start again" in str(error.value)


async def test_an_unreadable_file_is_named_after_the_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "a" / "x").write_bytes(jsonl(1))
    source = make(tmp_path, paths=["a"])
    await source.open({})
    assert [1] == ns([await source.read()])
    with pytest.raises(Fatal, match="a/link: cannot be read"):
        await source.read()
    await source.close()


@pytest.mark.parametrize(("kind", "end"), [("ndjson", b'"}\n'), ("csv", b"\n"), ("json", b'"},\n')])
async def test_a_100_mb_record_is_rejected_without_being_held(tmp_path: Path, kind: str, end: bytes) -> None:
    first, last = {"ndjson": (b"", b'{"a":2}\n'), "csv": (b"a,b\n", b"1,2\n"), "json": (b"[", b'{"a":2}]')}[
        kind
    ]
    with (tmp_path / "a").open("wb") as file:
        file.write(first + b'{"a":"')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(end + last)
    source = make(
        tmp_path, paths=["a"], format=kind, max_record_bytes=1 << 20, batch_bytes=1 << 20, header=True
    )
    tracemalloc.start()
    got, _ = await read_all(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    outcomes = [raw.decoder.decode(raw) for raw in got]
    (rejection,) = [r for outcome in outcomes for r in outcome.rejections]
    assert (0, "record_too_large", 4096) == (
        rejection.record,
        rejection.reason,
        len(rejection.original or b""),
    )
    assert "over max_record_bytes (1,048,576)" in rejection.detail
    assert [1] == [
        row[RECORD] for outcome in outcomes for frame in outcome.frames for row in frame.to_dicts()
    ]


async def test_a_bomb_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\n" * (200 << 20), 1))
    source = make(tmp_path, paths=["a.gz"], format="lines", batch_bytes=1 << 20)
    await source.open({})
    tracemalloc.start()
    raw = await source.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await source.close()
    assert raw.size <= 2 << 20
    assert peak < 16 << 20


# --- standard input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_a_pipe_is_read_to_its_end(tmp_path: Path, compression: str) -> None:
    reading = make(tmp_path, paths=["-"])._reading
    pipe = io.BytesIO(COMPRESSIONS[compression](jsonl(*range(60))))
    stdin = Stdin(reading, pipe)
    got: list[RawBatch] = []
    while (raw := stdin.next()) is not None:
        got.append(raw)
    assert list(range(60)) == ns(got)


def test_standard_input_says_that_it_cannot_be_read_again(tmp_path: Path) -> None:
    guarantee = make(tmp_path, paths=["-"]).guarantee
    assert not guarantee.replayable
    assert "lost" in guarantee.losses
    assert make(tmp_path, paths=["a"]).guarantee.replayable


# --- following -------------------------------------------------------------------------------------------


async def test_appended_lines_are_read_and_a_partial_last_line_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1) + b'{"n":')
    source = make(tmp_path, paths=["*.log"], follow=True)
    await source.open({})
    assert [1] == ns(await more(source))
    with path.open("ab") as file:
        file.write(b"2}\n" + jsonl(3))
    got = await more(source)
    assert [2, 3] == ns(got)
    assert [True] == [raw.caught_up for raw in got]
    (tmp_path / "b.log").write_bytes(jsonl(4))
    assert [4] == ns(await more(source))
    await source.close()


async def test_an_appended_line_is_read_within_100_ms(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1))
    clock = QuickClock()
    source = make(tmp_path, paths=["a.log"], follow=True, clock=clock)
    await source.open({})
    await more(source)  # many looks that found nothing
    before = clock.now
    with path.open("ab") as file:
        file.write(jsonl(2))
    assert [2] == ns([await source.read()])
    assert clock.now - before <= 0.1
    await source.close()


@pytest.mark.parametrize("paths", [["a.log*"], ["a.log"]])
async def test_rotation_by_rename_loses_and_repeats_nothing(tmp_path: Path, paths: list[str]) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1))
    source = make(tmp_path, paths=paths, follow=True)
    await source.open({})
    got = await more(source)
    with path.open("ab") as file:
        file.write(jsonl(2))
        path.rename(tmp_path / "a.log.1")
        path.write_bytes(jsonl(3))
        file.write(jsonl(4))
        file.flush()
        got += await more(source)
    got += await more(source)
    await source.close()
    assert [1, 2, 3, 4] == sorted(ns(got))
    found = records(got)
    assert [1, 2, 4] == [row["n"] for (partition, _), row in found.items() if partition == f"{path}#0"]
    assert [3] == [row["n"] for (partition, _), row in found.items() if partition == f"{path}#1"]


async def test_rotation_by_copy_truncate_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1, 2))
    source = make(tmp_path, paths=["a.log*"], follow=True)
    await source.open({})
    got = await more(source)
    with path.open("ab") as file:
        file.write(jsonl(3))
    shutil.copy(path, tmp_path / "a.log.1")
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(jsonl(4))
    got += await more(source)
    await source.close()
    assert [1, 2, 3, 4] == sorted(ns(got))
    assert len(records(got)) == 4


async def test_rotation_into_gzip_repeats_nothing_and_reads_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1, 2))
    clock = QuickClock()
    source = make(tmp_path, paths=["a.log*"], follow=True, clock=clock)
    got, positions = await read_all(source)
    with path.open("ab") as file:
        file.write(jsonl(3))
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.write_bytes(jsonl(4))
    source = make(tmp_path, paths=["a.log*"], follow=True)
    more_of_it, _ = await read_all(source, _stored(positions))
    assert [1, 2, 3, 4] == sorted(ns(got + more_of_it))
    assert len(records(got + more_of_it)) == 4


async def test_a_live_file_compressed_beside_itself_is_not_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1, 2))
    source = make(tmp_path, paths=["a.log*"], follow=True)
    await source.open({})
    got = await more(source)
    path.rename(tmp_path / "a.log.1")
    path.write_bytes(jsonl(3))
    got += await more(source)
    whole = gzip.compress((tmp_path / "a.log.1").read_bytes())
    (tmp_path / "a.log.1.gz").write_bytes(whole[:20])
    got += await more(source)
    (tmp_path / "a.log.1.gz").write_bytes(whole)
    (tmp_path / "a.log.1").unlink()
    got += await more(source)
    await source.close()
    assert [1, 2, 3] == sorted(ns(got))


async def test_following_restarted_after_each_batch_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(*range(60)))
    positions: dict[str, Position] = {}
    got: list[RawBatch] = []
    for _ in range(40):
        piece, positions = await read_all(
            make(tmp_path, paths=["a.log"], follow=True), _stored(positions), most=1
        )
        got += piece
    assert list(range(60)) == ns(got)


async def test_a_live_source_keeps_up_with_the_real_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(jsonl(1))
    source = make(tmp_path, paths=["a.log"], follow=True, clock=SystemClock())
    await source.open({})
    with anyio.fail_after(10):
        assert [1] == ns([await source.read()])
        async with anyio.create_task_group() as tasks:
            got: list[RawBatch] = []

            async def read() -> None:
                got.append(await source.read())

            tasks.start_soon(read)
            await anyio.lowlevel.checkpoint()
            with path.open("ab") as file:
                file.write(jsonl(2))
    await source.close()
    assert [2] == ns(got)


async def test_hints_reach_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,zip\n1,12345\n")
    got, _ = await read_all(make(tmp_path, paths=["a.csv"], hints={"zip": pl.String()}))
    assert [{"n": 1, "zip": "12345"}] == list(records(got).values())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"paths": ["a"], "formt": "csv"}, files.Settings)


def test_the_examples_are_settings() -> None:
    assert all(msgspec.convert(example, files.Settings).paths for example in files.examples)


# --- what a log rotator can do, in any order -------------------------------------------------------------


class Rotator:
    """A writer and a rotator of one log in a folder, remembering every whole line written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.log"
        self.path.write_bytes(b"")
        self.written = 0
        self.half = b""
        self.rotated = 0

    def append(self) -> None:
        self.written += 1
        with self.path.open("ab") as file:
            file.write(self.half + jsonl(self.written)[len(self.half) :])
        self.half = b""

    def half_append(self) -> None:
        if not self.half:
            self.half = jsonl(self.written + 1)[:7]
            with self.path.open("ab") as file:
                file.write(self.half)

    def finish_line(self) -> None:
        if self.half:
            rest = jsonl(self.written + 1)[len(self.half) :]
            self.written += 1
            self.half = b""
            with self.path.open("ab") as file:
                file.write(rest)

    def rename(self) -> None:
        self.finish_line()
        self.rotated += 1
        self.path.rename(self.path.with_name(f"a.log.{self.rotated}"))
        self.path.write_bytes(b"")

    def copy_truncate(self) -> None:
        self.finish_line()
        self.rotated += 1
        shutil.copy(self.path, self.path.with_name(f"a.log.{self.rotated}"))
        os.truncate(self.path, 0)

    def compress(self) -> None:
        for path in sorted(self.path.parent.glob("a.log.*[0-9]")):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
            return


@given(
    script=st.lists(
        st.sampled_from(
            [
                "append",
                "append",
                "finish_line",
                "half_append",
                "rename",
                "copy_truncate",
                "compress",
                "read",
                "one",
                "restart",
            ]
        ),
        max_size=14,
    )
)
def test_any_history_of_writing_rotating_and_restarting_gives_each_line_once(script: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_play, Path(folder), script)


async def _play(folder: Path, script: list[str]) -> None:
    rotator = Rotator(folder)
    source = make(folder, paths=["a.log*"], follow=True, batch_bytes=60)
    await source.open({})
    got: list[RawBatch] = []
    for act in [*script, "finish_line", "read"]:
        if act in ("read", "one"):
            got += await more(source, 1 if act == "one" else 10**6)
        elif act == "restart":
            await source.close()
            source = make(folder, paths=["a.log*"], follow=True, batch_bytes=60)
            await source.open(_stored({raw.partition: raw.position for raw in got}))
        else:
            if act == "append":
                rotator.finish_line()
            getattr(rotator, act)()
    await source.close()
    records(got)
    assert list(range(1, rotator.written + 1)) == sorted(ns(got))


def test_a_half_line_is_never_joined_with_another_files_line() -> None:
    """Read to the middle of a line; the file is copied and truncated, and a longer line written anew."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_play, Path(folder), ["half_append", "read", "copy_truncate", "append"])
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_play, Path(folder), ["append", "half_append", "read", "copy_truncate", "append", "append"])
