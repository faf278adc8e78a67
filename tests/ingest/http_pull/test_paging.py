"""Every pagination: all records once, in order, through any restart; shifting pages; loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.core.errors import Fatal
from headrace.model import Position, RawBatch
from hostile import Collection, Hostile, Request, Response, as_json, serving
from ingest.http_pull.pulling import PAGINATIONS, Patient, make, ns, paged, pull

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize("kind", PAGINATIONS)
COUNTED = pytest.mark.parametrize("kind", ["page", "offset"])


@pytest.fixture
def things() -> Collection:
    return Collection(47)


@pytest.fixture
def server(things: Collection) -> Iterator[Hostile]:
    with serving(things) as running:
        yield running


@KINDS
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 47])
@pytest.mark.parametrize("append_only", [False, True], ids=["any", "append_only"])
async def test_every_record_comes_once_and_in_order(
    server: Hostile, things: Collection, kind: str, count: int, append_only: bool
) -> None:
    things.rows = things.rows[:count]
    got, _ = await pull(paged(server.url, kind, append_only=append_only))
    assert list(range(count)) == ns(got)


@KINDS
@pytest.mark.parametrize("append_only", [False, True], ids=["any", "append_only"])
async def test_nothing_is_lost_or_repeated_when_restarted_after_each_batch(
    server: Hostile, kind: str, append_only: bool
) -> None:
    pieces: list[RawBatch] = []
    positions: dict[str, Position] = {}
    for _ in range(12):
        got, positions = await pull(paged(server.url, kind, append_only=append_only), positions, most=1)
        pieces += got
    assert list(range(47)) == ns(pieces)
    assert 47 == positions[next(iter(positions))].record


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10])
@KINDS
async def test_the_page_size_is_asked_for(server: Hostile, kind: str, size: int) -> None:
    got, _ = await pull(paged(server.url, kind, pagination={"size": size}))
    assert list(range(47)) == ns(got)
    assert str(size) in server.requests[0].query.values()


@COUNTED
async def test_a_server_that_gives_less_than_asked_for_loses_nothing(server: Hostile, kind: str) -> None:
    """It caps the size at 10: a short page must not be taken for the last one."""
    got, _ = await pull(paged(server.url, kind, pagination={"size": 1000}))
    assert list(range(47)) == ns(got)


async def test_one_request_without_pagination(server: Hostile) -> None:
    got, _ = await pull(make(f"{server.url}/all"))
    assert (list(range(47)), 1) == (ns(got), len(server.requests))


@pytest.mark.parametrize("kind", ["cursor", "link", "next"])
async def test_what_was_pulled_once_is_not_asked_for_again(server: Hostile, kind: str) -> None:
    _, positions = await pull(paged(server.url, kind))
    asked = len(server.requests)
    again, _ = await pull(paged(server.url, kind), positions)
    assert ([], asked) == (again, len(server.requests))


@KINDS
@pytest.mark.parametrize("before", [0, 5, 10, 13, 20])
async def test_a_log_goes_on_after_its_last_record(
    server: Hostile, things: Collection, kind: str, before: int
) -> None:
    """With `append_only`, whether its last page was full or not, in one process and after a restart."""
    whole, things.rows = things.rows, things.rows[:before]
    first, positions = await pull(paged(server.url, kind, append_only=True))
    things.rows = whole[: before + 2]
    second, positions = await pull(paged(server.url, kind, append_only=True), positions)
    things.rows = whole
    third, _ = await pull(paged(server.url, kind, append_only=True), positions)
    assert list(range(47)) == ns([*first, *second, *third])


@KINDS
async def test_a_log_is_polled(server: Hostile, things: Collection, kind: str) -> None:
    whole, things.rows = things.rows, []

    def grow(answers: int) -> None:
        things.rows = whole[: 2 * answers]

    things.before = grow
    got, _ = await pull(paged(server.url, kind, append_only=True, interval="10s", clock=Patient(500)))
    assert list(range(47)) == ns(got)


@KINDS
async def test_a_log_that_shrinks_is_none(server: Hostile, things: Collection, kind: str) -> None:
    _, positions = await pull(paged(server.url, kind, append_only=True))
    things.rows = things.rows[:44]
    with pytest.raises(Fatal, match="append_only"):
        await pull(paged(server.url, kind, append_only=True), positions)


async def test_each_poll_reads_everything_again_unless_told_otherwise(
    server: Hostile, things: Collection
) -> None:
    source = paged(server.url, "cursor", interval="1m", clock=Patient(100))
    got, _ = await pull(source)
    assert [*range(47), *range(47)] == ns(got)
    assert not source.guarantee.stable_ids


class TestShiftingPages:
    """Records are deleted and inserted while the pages are read: none that stays is missed."""

    @COUNTED
    @pytest.mark.parametrize("deleted", [1, 2, 7, 10, 12, 25])
    @pytest.mark.parametrize("at", [2, 3, 4])
    async def test_deletions_in_front_lose_nothing(
        self, server: Hostile, things: Collection, kind: str, deleted: int, at: int
    ) -> None:
        def delete(answers: int) -> None:
            if answers == at:
                del things.rows[:deleted]

        things.before = delete
        got, _ = await pull(paged(server.url, kind))
        assert set(range(deleted, 47)) <= set(ns(got))

    @COUNTED
    @pytest.mark.parametrize("deleted", [1, 3, 8])
    async def test_deletion_of_the_last_records_read_loses_nothing(
        self, server: Hostile, things: Collection, kind: str, deleted: int
    ) -> None:
        def delete(answers: int) -> None:
            if answers == 1:
                del things.rows[10 - deleted : 10]

        things.before = delete
        got, _ = await pull(paged(server.url, kind))
        assert set(range(10 - deleted)) | set(range(10, 47)) <= set(ns(got))

    @COUNTED
    async def test_insertions_in_front_repeat_nothing(
        self, server: Hostile, things: Collection, kind: str
    ) -> None:
        def insert(answers: int) -> None:
            if answers == 2:
                things.rows.insert(0, {"n": -1, "text": "new"})

        things.before = insert
        got, _ = await pull(paged(server.url, kind))
        assert list(range(47)) == ns(got)

    @COUNTED
    async def test_records_of_equal_content_are_all_kept(
        self, server: Hostile, things: Collection, kind: str
    ) -> None:
        things.rows = [{"n": 0}] * 35
        source = paged(server.url, kind, pagination={"allow_repeats": True})
        got, _ = await pull(source)
        assert [0] * 35 == ns(got)

    @COUNTED
    def test_it_is_said_before(self, kind: str) -> None:
        guarantee = paged("http://127.0.0.1", kind).guarantee
        assert not guarantee.stable_ids
        assert "already read" in guarantee.losses


class TestEndlessPagination:
    """The same cursor twice, the same page twice, no end at all: said, with everything read kept."""

    @COUNTED
    async def test_a_parameter_that_the_api_does_not_know(self, server: Hostile, kind: str) -> None:
        source = paged(server.url, kind, pagination={"parameter": "nonsense"})
        await source.open({})
        assert list(range(10)) == ns([await source.read()])
        with pytest.raises(Fatal, match="goes round"):
            await source.read()
        await source.close()

    @pytest.mark.parametrize("cycle", [1, 2, 3])
    @pytest.mark.parametrize("kind", ["cursor", "link", "next"])
    async def test_a_cursor_that_comes_back(self, kind: str, cycle: int) -> None:
        def api(request: Request) -> Response:
            at = int(request.query.get("cursor", "0"))
            following = f"{at + 1}" if at < cycle else "1"
            url = f"/x/{kind}?cursor={following}"
            link = {"link": f'<{url}>; rel="next"'}
            return as_json(
                {"items": [{"n": at}], "meta": {"next": following if kind == "cursor" else url}}, **link
            )

        with serving(api) as server:
            source = paged(f"{server.url}/x", kind)
            await source.open({})
            assert list(range(cycle + 1)) == ns([await source.read() for _ in range(cycle + 1)])
            with pytest.raises(Fatal, match="goes round"):
                await source.read()
            await source.close()
            assert cycle + 1 == len(server.requests)

    async def test_a_cursor_that_changes_and_a_page_that_does_not(self) -> None:
        def api(request: Request) -> Response:
            following = str(int(request.query.get("cursor", "0")) + 1)
            return as_json({"items": [{"n": 1}], "meta": {"next": following}})

        with serving(api) as server, pytest.raises(Fatal, match="goes round"):
            await pull(paged(server.url, "cursor"))

    async def test_pages_without_end_stop_at_the_limit_and_go_on_when_it_is_raised(self) -> None:
        def api(request: Request) -> Response:
            at = int(request.query.get("cursor", "0"))
            return as_json({"items": [{"n": at}], "meta": {"next": str(at + 1)}})

        with serving(api) as server:
            source = paged(server.url, "cursor", pagination={"max_pages": 5})
            await source.open({})
            first = [await source.read() for _ in range(5)]
            with pytest.raises(Fatal, match=r"5 pages.*max_pages"):
                await source.read()
            await source.close()
            more = paged(server.url, "cursor", pagination={"max_pages": 8})
            await more.open({first[-1].partition: first[-1].position})
            assert list(range(8)) == ns([*first, *[await more.read() for _ in range(3)]])
            await more.close()

    async def test_a_feed_that_always_gives_a_cursor_ends_with_an_empty_page(self) -> None:
        def api(request: Request) -> Response:
            at = int(request.query.get("cursor", "0"))
            rows = [{"n": n} for n in range(at, min(at + 2, 5))]
            return as_json({"items": rows, "meta": {"next": str(at + len(rows))}})

        with serving(api) as server:
            got, positions = await pull(paged(server.url, "cursor", append_only=True))
            assert list(range(5)) == ns(got)
            assert [] == (await pull(paged(server.url, "cursor", append_only=True), positions))[0]


async def test_more_says_where_the_end_is(server: Hostile) -> None:
    def api(request: Request) -> Response:
        page = int(request.query["page"])
        return as_json({"items": [{"n": page}], "more": page < 3})

    with serving(api) as running:
        got, _ = await pull(paged(running.url, "page", pagination={"more": "more"}, append_only=True))
        assert [1, 2, 3] == ns(got)
        assert "4" not in [request.query["page"] for request in running.requests]


async def test_a_page_without_records_is_no_end_where_the_api_says_there_are_more() -> None:
    def api(request: Request) -> Response:
        page = int(request.query["page"])
        return as_json({"items": [{"n": page}] if page % 2 else [], "more": page < 5})

    with serving(api) as running:
        got, _ = await pull(paged(running.url, "page", pagination={"more": "more"}))
        assert [1, 3, 5] == ns(got)


async def test_pages_of_uneven_size_do_not_end_early() -> None:
    """Limited by bytes, say: a page of few records, all of them overlapping, is not the end."""
    sizes = iter([20, 3, 5, 9, 2, 30])

    def api(request: Request) -> Response:
        start = int(request.query["offset"])
        return as_json({"items": [{"n": n} for n in range(40)][start : start + next(sizes, 4)]})

    with serving(api) as running:
        assert list(range(40)) == ns((await pull(paged(running.url, "offset")))[0])


@pytest.mark.parametrize("options", [{}, {"append_only": True, "interval": "1m", "clock": Patient(150)}])
async def test_pages_may_end_with_a_404(options: dict[str, Any]) -> None:
    def api(request: Request) -> Response:
        page = int(request.query["page"])
        return as_json({"items": [{"n": page}]}) if page < 4 else Response(404)

    with serving(api) as running:
        got, _ = await pull(paged(running.url, "page", pagination={"stop": "not_found"}, **options))
        assert [1, 2, 3] == ns(got)
        with pytest.raises(Fatal, match="404"):
            await pull(paged(running.url, "page"))


async def test_a_post_carries_its_page_in_the_body(server: Hostile) -> None:
    got, _ = await pull(paged(server.url, "cursor", method="POST", body={"query": "all"}))
    assert list(range(47)) == ns(got)
    sent: Any = server.requests[1].json()
    assert {"query": "all", "cursor": "c9"} == sent
