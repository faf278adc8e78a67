"""From a hostile API to the search index, through the whole runtime."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.harness import QUICK, configured, ingester
from headrace.app import Ingester, build_ingester
from headrace.cli.check import examine
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.index.tantivy import open_reader
from headrace.layout import dead_letter_file, index_directory
from headrace.pipeline.deadletter import DeadLetterView
from headrace.settings import Settings, loads
from headrace.testing import FaultyIndex
from hostile import (
    BROKEN,
    CUT,
    RESET,
    TRUNCATED,
    Collection,
    Fault,
    Hostile,
    Request,
    Response,
    as_json,
    serving,
)
from ingest.http_pull.pulling import PAGINATIONS, paged

pytestmark = pytest.mark.anyio

FAULTS: list[Fault | None] = [
    BROKEN,
    None,
    CUT,
    Fault(status=429, body=b"", headers={"retry-after": "0"}),
    TRUNCATED,
    None,
    RESET,
    None,
    Fault(status=503, body=b""),
]


def settings(folder: Path, source: dict[str, Any], *, key: str | None = None) -> Settings:
    configuration = {
        "data_dir": "data",
        "disk_reserve": "1MB",
        "commit_interval": "20ms",
        "indexes": {
            "things": {
                "type": "tantivy",
                "memory": "32MB",
                "fields": {"n": "integer", "text": "text"},
                **({"id": key} if key else {}),
            }
        },
        "pipelines": {"things": {"source": {"type": "http_pull", **source}, "index": "things"}},
    }
    return loads(msgspec.json.encode(configuration).decode(), "json", base=folder)


def over(server: Hostile, kind: str, **options: Any) -> dict[str, Any]:
    return {"url": f"{server.url}/{kind}", "records": "items", "pagination": PAGINATIONS[kind], **options}


async def run(made: Settings) -> Ingester:
    flow = build_ingester(made, metrics=Metrics(), health=Health(), policy=QUICK)
    await flow.run(until_finished=True)
    return flow


def indexed(made: Settings) -> Counter[int]:
    """How often each record is in the index."""
    found: Counter[int] = Counter()
    with closing(open_reader(index_directory(made.data_dir, "things"))) as reader:
        for frame in reader.scan(None, 1000):
            found.update(msgspec.json.decode(source)["n"] for source in frame["_source"])
        assert all(ledger.imbalance == 0 for ledger in reader.watermarks().ledgers.values())
    return found


@pytest.mark.parametrize("kind", PAGINATIONS)
@pytest.mark.parametrize("key", [None, "n"], ids=["derived", "declared"])
async def test_every_record_is_indexed_once_whatever_fails(
    tmp_path: Path, kind: str, key: str | None
) -> None:
    with serving(Collection(55)) as server:
        server.faults.extend(FAULTS)
        made = settings(tmp_path, over(server, kind, append_only=key is None), key=key)
        flow = await run(made)
    assert Counter(range(55)) == indexed(made)
    assert flow.health.snapshot().components["pipeline:things"].state is State.FINISHED


@pytest.mark.parametrize("kind", PAGINATIONS)
async def test_started_again_nothing_is_indexed_twice(tmp_path: Path, kind: str) -> None:
    things = Collection(25)
    with serving(things) as server:
        made = settings(tmp_path, over(server, kind, append_only=True))
        await run(made)
        things.rows += [{"n": n, "text": "new"} for n in range(25, 30)]
        await run(made)
        await run(made)
    assert Counter(range(30)) == indexed(made)


@pytest.mark.parametrize("kind", ["page", "offset"])
@pytest.mark.parametrize("key", [None, "n"], ids=["at least once", "declared id"])
async def test_shifting_pages_double_only_where_check_says_so(
    tmp_path: Path, kind: str, key: str | None
) -> None:
    things = Collection(55)

    def shift(answers: int) -> None:
        if answers == 4:
            del things.rows[:15]
        if answers == 7:
            things.rows[:0] = [{"n": n, "text": "new"} for n in range(100, 112)]

    things.before = shift
    with serving(things) as server:
        server.faults.extend(FAULTS)
        made = settings(tmp_path, over(server, kind), key=key)
        await run(made)
    found = indexed(made)
    assert set(range(15, 55)) <= set(found)
    if key:
        assert {1} == set(found.values())


@pytest.mark.parametrize("commits", [1, 3])
async def test_an_index_that_rolls_back_gets_the_pages_again(tmp_path: Path, commits: int) -> None:
    index = FaultyIndex(fail_commits=commits, fail_writes=1)
    with serving(Collection(55)) as server:
        server.faults.extend(FAULTS)
        source = paged(server.url, "cursor")
        flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
        await flow.run(until_finished=True)
    assert list(range(55)) == [row["n"] for row in index.rows]


async def test_a_bad_record_is_a_dead_letter_with_its_bytes(tmp_path: Path) -> None:
    body = b'{"items": [{"n": 0}, {"n": tru}, {"n": 2}]}'
    with serving(lambda _: Response(body=body)) as server:
        made = settings(tmp_path, {"url": server.url, "records": "items"})
        await run(made)
    assert Counter([0, 2]) == indexed(made)
    (letter,) = DeadLetterView(dead_letter_file(made.data_dir)).list()
    assert ("decode", "malformed", b'{"n": tru}') == (letter.stage, letter.reason, letter.original)
    assert letter.origin is not None
    assert letter.origin.startswith(server.url)


async def test_what_was_read_before_a_fatal_answer_is_kept_and_the_reason_told(tmp_path: Path) -> None:
    def api(request: Request) -> Response:
        if "cursor" in request.query:
            return Response(401, b"key expired")
        return as_json({"items": [{"n": 1}], "meta": {"next": "c"}})

    with serving(api) as server:
        made = settings(tmp_path, over(server, "cursor"))
        flow = await run(made)
    component = flow.health.snapshot().components["pipeline:things"]
    assert State.FAILED is component.state
    assert "check `auth`; it says 'key expired'" in component.reason
    assert Counter([1]) == indexed(made)


@pytest.mark.parametrize(
    ("kind", "options", "key", "says"),
    [
        ("page", {}, None, "at least once"),
        ("page", {}, "n", "exactly once"),
        ("page", {"append_only": True}, None, "exactly once"),
        ("cursor", {}, None, "exactly once"),
        ("cursor", {"interval": "1m"}, None, "at least once"),
        ("cursor", {"watermark": {"field": "n", "parameter": "x"}}, None, "at least once"),
        ("cursor", {"watermark": {"field": "n", "parameter": "x"}}, "n", "exactly once"),
    ],
)
def test_check_says_what_is_promised(
    tmp_path: Path, kind: str, options: dict[str, Any], key: str | None, says: str
) -> None:
    with serving(Collection(5)) as server:
        report = examine(settings(tmp_path, over(server, kind, **options), key=key))
    assert report.pipelines[0].delivery.startswith(says)
    assert {"n: Int64", "text: String"} <= set(report.pipelines[0].fields)
