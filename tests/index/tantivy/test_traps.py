"""Each trap of the engine that loses, doubles or blocks, and that it is not stepped into.

Some tests show the trap itself on the bare engine: should a new version of it behave otherwise, they say so.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tantivy
from tantivy import Query

from headrace.core.errors import Rewound
from headrace.index.tantivy import store
from headrace.index.tantivy.positions import count, stored_positions
from headrace.index.tantivy.verify import verify
from headrace.index.tantivy.writer import Writer
from headrace.model import RECORD, Position
from writing import batch, documents, matches, reasons, rows, searcher, settings, sources, writer

KEY = ("pipe", "p")


def _bare(folder: Path) -> tuple[tantivy.Index, tantivy.IndexWriter]:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("_id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("v", stored=True, indexed=True, fast=True)
    builder.add_date_field("d", indexed=True, fast=True)
    builder.add_text_field("m")
    folder.mkdir()
    index = tantivy.Index(builder.build(), str(folder))
    return index, index.writer(30_000_000, 2)


POISON: list[Any] = [
    1704164645,
    -1,
    2**62,
    1.5,
    True,
    "yesterday",
    "9999-01-01T00:00:00Z",
    "",
    {"a": 1},
    ["x"],
]


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("poison", POISON, ids=str)
def test_no_value_in_a_date_field_kills_the_writer(tmp_path: Path, poison: Any, dynamic: bool) -> None:
    """On the bare engine an integer there is accepted, and takes thousands of documents with it later."""
    made = writer(tmp_path / "i", fields={"d": "date"}, dynamic=dynamic)
    frame = pl.DataFrame({RECORD: [0], "d": [poison]}, strict=False)
    good = pl.DataFrame({RECORD: [1], "d": [datetime(2024, 1, 2, tzinfo=UTC)]})
    rejected = made.write(batch(frame, good, first=0, records=2))
    made.commit()
    made.close()
    assert len(sources(tmp_path / "i")) + len(rejected) == 2
    assert set(reasons(rejected)) <= {(0, "wrong_type")}


def test_the_engine_still_takes_an_integer_as_a_date_and_dies_of_it(tmp_path: Path) -> None:
    _, engine = _bare(tmp_path / "bare")
    engine.add_json('{"d": 1704164645}')
    with pytest.raises(ValueError, match="Expected a Date"):
        engine.commit()


def test_a_writer_that_dies_loses_nothing_that_was_committed_and_says_where_to_resume(tmp_path: Path) -> None:
    """The poison is put past our own checks, straight into the engine's writer; dates had terms once."""
    writer(tmp_path / "i", fields={"d": "date"}).close()
    meta = tmp_path / "i" / store.ENGINE / store.META
    meta.write_text(
        meta.read_text().replace(
            '"type": "date", "options": {"indexed": false', '"type": "date", "options": {"indexed": true'
        )
    )
    made = writer(tmp_path / "i", fields={"d": "date"})
    made.write(rows({"n": 0}))
    made.commit()
    made.write(rows({"n": 1}, first=1))
    made._ready()[1].add_json('{"d": 1704164645}')
    with pytest.raises(Rewound) as rewound:
        made.commit()
    assert rewound.value.positions == {KEY: Position(1)}
    made.write(rows({"n": 1}, {"n": 2}, first=1))
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert verify(tmp_path / "i").problems == []


def test_nulls_never_reach_the_engine_in_any_type(tmp_path: Path) -> None:
    kinds = ["text", "keyword", "integer", "unsigned", "float", "boolean", "date", "ip", "json"]
    fields = {kind: kind for kind in kinds} | {f"{kind}s": f"{kind}[]" for kind in kinds if kind != "json"}
    made = writer(tmp_path / "i", fields=fields)
    nothing = dict.fromkeys(fields)
    one = {**nothing, "keywords": ["a", None], "dates": ["2024-01-02", None], "floats": [None]}
    assert made.write(rows(nothing, one, nothing)) == []
    made.commit()
    made.close()
    assert len(sources(tmp_path / "i")) == 3


def test_a_row_that_the_engine_refuses_alone_costs_only_itself(tmp_path: Path) -> None:
    """Nesting deeper than the engine reads: nothing our types could have told before."""
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    made = writer(tmp_path / "i")
    frame = pl.DataFrame({RECORD: [0, 1], "deep": [deep, None], "n": [0, 1]})
    assert reasons(made.write(batch(frame, first=0, records=2))) == [(0, "engine_refused")]
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"n": 1}]


def test_a_refused_upsert_leaves_the_document_it_would_have_replaced(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    made = writer(tmp_path / "i", id="k")
    made.write(rows({"k": "a", "n": 0}))
    made.commit()
    replacing = batch(
        pl.DataFrame({RECORD: [1, 2], "k": ["a", "b"], "deep": [deep, None]}), first=1, records=2
    )
    with pytest.raises(Rewound):
        made.write(replacing)
    assert reasons(made.write(replacing)) == [(1, "engine_refused")]
    made.commit()
    made.close()
    assert documents(tmp_path / "i") == {"a": {"k": "a", "n": 0}, "b": {"k": "b"}}


@pytest.mark.parametrize("by_set", [True, False])
def test_deletes_and_adds_take_effect_in_the_order_they_were_given(tmp_path: Path, by_set: bool) -> None:
    """Within one commit, over two threads and segments flushed in the middle: upserts rely on it."""
    index, engine = _bare(tmp_path / "bare")
    dice = random.Random(7)
    model: dict[str, int] = {}
    for round_ in range(60):
        keys = sorted({f"k{dice.randrange(4000)}" for _ in range(1500)})
        if by_set:
            engine.delete_documents_by_query(Query.term_set_query(index.schema, "_id", keys))
        for key in keys:
            if not by_set:
                engine.delete_documents_by_term("_id", key)
            engine.add_json(
                json.dumps(
                    {
                        "_id": key,
                        "v": round_,
                        "m": f"a{round_}{key} b{round_}{key} c{round_}{key} d{round_}{key}",
                    }
                )
            )
            model[key] = round_
    engine.commit()
    index.reload()
    found = index.searcher()
    assert found.num_segments > 2, "no segment was flushed before the commit: the test shows nothing"
    hits = [found.doc(address) for _, address in found.search(Query.all_query(), limit=10_000).hits]
    assert {str(hit.get_first("_id")): hit.get_first("v") for hit in hits} == model
    assert len(hits) == len(model)


def test_upserts_of_many_batches_in_one_commit_keep_the_last(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id="k", fields={"k": "keyword", "v": "integer"}, memory=settings().memory)
    dice, first = random.Random(3), 0
    model: dict[str, Any] = {}
    for round_ in range(40):
        records = [{"k": f"k{dice.randrange(3000)}", "v": round_} for _ in range(2000)]
        made.write(rows(*records, first=first))
        first += len(records)
        model |= {str(record["k"]): record for record in records}
        if round_ == 20:
            made.commit()
    made.commit()
    made.close()
    assert documents(tmp_path / "i") == model


def test_a_long_id_is_no_term_for_the_engine_so_we_refuse_it(tmp_path: Path) -> None:
    index, engine = _bare(tmp_path / "bare")
    engine.add_json(json.dumps({"_id": "x" * 70_000}))
    engine.commit()
    index.reload()
    assert count(index.searcher(), Query.term_query(index.schema, "_id", "x" * 70_000)) == 0
    made = writer(tmp_path / "i", id="k")
    assert reasons(made.write(rows({"k": "x" * 70_000}))) == [(0, "id_too_long")]
    made.close()


def test_long_values_are_kept_and_cost_nothing_else(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"k": "keyword", "t": "text"})
    record = {"k": "x" * 70_000, "t": "y" * 100_000, "u": "z" * 70_000}
    made.write(rows(record, {"k": "short", "u": "also"}))
    made.commit()
    made.close()
    assert sources(tmp_path / "i")[0] == record
    assert matches(tmp_path / "i", "k", "short") == 1


def test_an_engine_panic_is_a_failure_like_any_other(tmp_path: Path) -> None:
    """Panics are no Exceptions: an `except Exception` would let them through."""
    made = writer(tmp_path / "i")
    made.write(rows({"n": 0}))
    made.commit()
    index = made._ready()[0]
    with pytest.raises(Rewound, match="PanicException"):
        made._guarded(lambda: index.searcher().search(Query.all_query(), limit=0))
    made.close()
    assert sources(tmp_path / "i") == [{"n": 0}]


KILLED = """
import sys
from pathlib import Path
from writing import rows, writer

made = writer(Path(sys.argv[1]), id="k", threads=2)
done = max((position.record for position in made.open().durable.values()), default=0)
while True:
    made.write(rows(*({"k": f"k{number % 700}", "n": number} for number in range(done, done + 100)), first=done))
    made.commit()
    done += 100
    print(done, flush=True)
"""


def _killed_after(directory: Path, commits: int) -> int:
    """Index in a process of its own, kill it some commits later, at once and whatever it does."""
    path = os.pathsep.join(part for part in sys.path if part)
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdout is not None
    with child.stdout as lines:
        seen = [int(next(lines)) for _ in range(commits)]
        child.send_signal(signal.SIGKILL)
        child.wait()
    return seen[-1]


def test_after_kill_9_the_lock_is_free_leftovers_are_gone_and_each_record_is_there_once(
    tmp_path: Path,
) -> None:
    for commits in (2, 5, 3):
        told = _killed_after(tmp_path / "i", commits)
        (tmp_path / "i" / store.ENGINE / ".tmpLeft").touch()
        made = writer(tmp_path / "i", id="k")
        done = made.open().durable[KEY].record
        made.close()
        assert done >= told
        expected = {f"k{number % 700}": number for number in range(done)}
        assert {key: source["n"] for key, source in documents(tmp_path / "i").items()} == expected
        assert verify(tmp_path / "i").problems == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """24 MB of tmpfs; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if mount else None
    if done is None or done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip() if done else 'no mount command'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _until_full(made: Writer, first: int) -> tuple[int, Rewound]:
    """Write and commit until the disk is full; the last committed record, and how that was said."""
    noise = random.Random(first)
    while True:
        records = [{"n": first + i, "t": noise.randbytes(400).hex()} for i in range(500)]
        try:
            made.write(rows(*records, first=first))
            made.commit()
        except Rewound as rewound:
            return first, rewound
        first += len(records)


@pytest.mark.service
def test_a_full_disk_is_said_loses_nothing_committed_and_goes_on_when_there_is_space(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(10 << 20))
    made = writer(small_disk / "i", threads=1)
    committed, rewound = _until_full(made, 0)
    assert rewound.disk_full
    assert rewound.positions == {KEY: Position(committed)}
    # What the sweep gave back is used up, and it is full again: said in the same way, without damage.
    committed, rewound = _until_full(made, committed)
    assert rewound.disk_full
    ballast.unlink()
    further, _ = _until_full(made, committed)
    assert further > committed
    made.close()
    numbers = [source["n"] for source in sources(small_disk / "i")]
    assert numbers == list(range(further))


def test_readers_see_each_commit_whole_while_the_writer_goes_on(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id="k")
    index: tantivy.Index | None = None
    for number in range(10):
        made.write(rows(*({"k": str(i), "n": number} for i in range(50)), first=number * 50))
        made.commit()
        index = index or searcher(tmp_path / "i")[0]
        index.reload()
        found = index.searcher()
        assert count(found, Query.term_query(index.schema, "_dyn.n", number)) == 50
        assert found.num_docs == 50 + len(stored_positions(index, found))
    made.close()
