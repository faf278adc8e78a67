"""Laws: whatever fails, wherever it is restarted, however pages shift, the records are the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.errors import EndOfInput, Retryable
from headrace.model import Position, RawBatch
from hostile import BROKEN, BUSY, CUT, RESET, TRUNCATED, Collection, Fault, Hostile, serving
from ingest.http_pull.pulling import PAGINATIONS, drain, ns, paged, pull, stored

pytestmark = pytest.mark.anyio

FAULTS = st.sampled_from(
    [None, BROKEN, BUSY, RESET, CUT, TRUNCATED, Fault(status=503, headers={"retry-after": "5"})]
)


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    with serving(Collection()) as running:
        yield running


def fill(server: Hostile, count: int, size: int) -> Collection:
    things = Collection(count, size)
    server.api = things
    server.faults.clear()
    return things


@given(
    kind=st.sampled_from(sorted(PAGINATIONS)),
    append_only=st.booleans(),
    count=st.integers(0, 40),
    size=st.integers(1, 12),
    lives=st.lists(st.tuples(st.lists(FAULTS, max_size=6), st.integers(0, 4)), max_size=5),
)
async def test_any_failures_and_restarts_give_the_same_records_with_the_same_numbers(
    server: Hostile,
    kind: str,
    append_only: bool,
    count: int,
    size: int,
    lives: list[tuple[list[Fault | None], int]],
) -> None:
    """Each life meets its faults and is ended after some batches; what it delivered is committed."""
    fill(server, count, size)
    pieces: list[RawBatch] = []
    positions: dict[str, Position] = {}
    for faults, most in [*lives, ([], 10**6)]:
        server.faults.extend(faults)
        got, positions = await pull(paged(server.url, kind, append_only=append_only), positions, most)
        pieces += got
    assert list(range(count)) == ns(pieces)
    assert [raw.first_record for raw in pieces] == [0, *(raw.position.record for raw in pieces)][:-1]


@given(
    kind=st.sampled_from(["page", "offset"]),
    count=st.integers(0, 60),
    size=st.integers(2, 12),
    known_size=st.booleans(),
    changes=st.dictionaries(
        st.integers(0, 30),
        st.tuples(st.sampled_from(["delete", "insert"]), st.integers(0, 60), st.integers(1, 15)),
    ),
    restart_after=st.sets(st.integers(0, 12)),
)
@example(  # the end of the list, between a deletion and an insertion
    kind="offset",
    count=29,
    size=5,
    known_size=False,
    changes={
        0: ("insert", 0, 9),
        1: ("delete", 0, 1),
        9: ("delete", 0, 8),
        10: ("insert", 0, 1),
    },
    restart_after=set(),
)
async def test_whatever_is_deleted_and_inserted_meanwhile_no_record_that_stays_is_missed(
    server: Hostile,
    kind: str,
    count: int,
    size: int,
    known_size: bool,
    changes: dict[int, tuple[str, int, int]],
    restart_after: set[int],
) -> None:
    """By pages: of deletions only, or insertions only: both between two requests can hide each other."""
    if kind == "page":
        first = min(changes.values(), default=("", 0, 0))[0]
        changes = {at: change for at, change in changes.items() if change[0] == first}
    things = fill(server, count, size)
    stays = {row["n"] for row in things.rows}
    fresh = iter(range(1000, 10_000))

    def change(answers: int) -> None:
        what, at, number = changes.get(answers, ("", 0, 0))
        if what == "delete":
            stays.difference_update(row["n"] for row in things.rows[at : at + number])
            del things.rows[at : at + number]
        if what == "insert":
            things.rows[at:at] = [{"n": next(fresh)} for _ in range(number)]

    things.before = change
    options: dict[str, Any] = {"pagination": {"size": size}} if known_size else {}
    positions: dict[str, Position] = {}
    found: set[int] = set()
    source = paged(server.url, kind, **options)
    await source.open({})
    batches = 0
    while True:
        try:
            raw = await source.read()
        except EndOfInput:
            break
        found |= {row["n"] for frame in raw.decoder.decode(raw).frames for row in frame.to_dicts()}
        positions[raw.partition] = stored(raw.position)
        batches += 1
        if batches in restart_after:
            await source.close()
            source = paged(server.url, kind, **options)
            await source.open(positions)
    await source.close()
    assert set() == stays - found


@given(
    kind=st.sampled_from(sorted(PAGINATIONS)),
    size=st.integers(1, 7),
    growth=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    faults=st.lists(FAULTS, max_size=5),
)
async def test_a_log_may_grow_at_any_moment(
    server: Hostile, kind: str, size: int, growth: list[int], faults: list[Fault | None]
) -> None:
    """Records are added before each answer, and between pulls: each comes once, in order."""
    things = fill(server, 0, size)
    whole = [{"n": n} for n in range(sum(growth))]
    server.faults.extend(faults)

    def grow(answers: int) -> None:
        things.rows = whole[: sum(growth[: answers + 1])]

    things.before = grow
    pieces: list[RawBatch] = []
    positions: dict[str, Position] = {}
    while (
        things.answers <= len(growth)
        or not positions
        or len(things.rows) > positions[next(iter(positions))].record
    ):
        got, positions = await pull(paged(server.url, kind, append_only=True), positions)
        pieces += got
        if things.answers > 60:
            break
    assert list(range(sum(growth))) == ns(pieces)


@given(faults=st.lists(st.lists(FAULTS, max_size=4), min_size=1, max_size=4), most=st.integers(1, 4))
async def test_partitions_never_lose_each_others_records(
    server: Hostile, faults: list[list[Fault | None]], most: int
) -> None:
    from ingest.http_pull.pulling import make

    fill(server, 23, 5)
    for some in faults:
        server.faults.extend(some)
    source = make(
        f"{server.url}/{{kind}}",
        records="items",
        pagination=PAGINATIONS["cursor"],
        partitions=[{"kind": "cursor", "k": k} for k in range(3)],
        params={"k": "{k}"},
        concurrency=most,
    )
    await source.open({})
    got = await drain(source)
    await source.close()
    for partition in {raw.partition for raw in got}:
        assert list(range(23)) == ns([raw for raw in got if raw.partition == partition])
    assert 3 == len({raw.partition for raw in got})


async def test_the_harness_can_fail(server: Hostile) -> None:
    """A pull without anyone to try again does raise."""
    fill(server, 5, 2)
    server.faults.append(BROKEN)
    source = paged(server.url, "page")
    await source.open({})
    with pytest.raises(Retryable):
        await source.read()
    await source.close()
