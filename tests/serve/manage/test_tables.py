"""Tables as text and as JSON."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.core.health import State
from headrace.model import Json
from headrace.serve import columns
from headrace.serve.indices import ServerIndices
from headrace.serve.manage import Surroundings, routes
from headrace.serve.manage.tables import LISTED


@pytest.fixture
def things(client: TestClient) -> TestClient:
    client.put("/_index_template/t", json={"index_patterns": ["x-*"], "priority": 3})
    client.put("/_template/old", json={"index_patterns": ["y-*"]})
    client.put("/things")
    return client


def test_the_list_names_each_table_that_answers(things: TestClient) -> None:
    assert ["=^.^=", *LISTED] == things.get("/_cat").text.splitlines()
    paths = [path for path in LISTED if "{" not in path and path.removeprefix("/_cat/") not in OTHERS]
    assert dict.fromkeys(paths, 200) == {path: things.get(path).status_code for path in paths}


TABLES = {
    "nodes": columns.NODES,
    "master": columns.MASTER,
    "shards": columns.SHARDS,
    "allocation": columns.ALLOCATION,
    "templates": columns.TEMPLATES,
    "health": columns.HEALTH,
}
OTHERS = ("aliases", "count", "indices")
"""Those of the searching side."""


def test_the_node_is_its_own_master(things: TestClient) -> None:
    [node] = things.get("/_cat/nodes?format=json").json()
    assert ("*", "headrace") == (node["master"], node["name"])
    assert "headrace" == things.get("/_cat/master?h=node").text.strip()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("nodes?h=n,m,r", "headrace * dim"),
        ("master?h=id,n", "headrace headrace"),
        ("shards?h=i,s,p,st,d,n", "things 0 p STARTED 0 headrace"),
        ("segments?h=i,dc", "things 0"),
        ("allocation?h=s,n", "1 headrace"),
        ("templates/t?h=n,t,o", "t [x-*] 3"),
        ("health?h=cl,st,nt,asp", "headrace green 1 100.0%"),
        ("tasks?v", "action task_id parent_task_id type start_time timestamp running_time ip node"),
        ("thread_pool?v&h=nn,a", "nn a"),
        ("plugins?v", "name component version description"),
        ("pending_tasks?v&h=o", "o"),
    ],
)
def test_every_table_knows_the_short_names_of_its_columns(
    things: TestClient, asked: str, expected: str
) -> None:
    """And has its headings, empty or not."""
    assert [expected] == things.get(f"/_cat/{asked}").text.splitlines()


def test_every_cell_has_a_column(things: TestClient) -> None:
    """What a row holds can be asked for by name."""
    for path, known in TABLES.items():
        rows = things.get(f"/_cat/{path}?format=json").json()
        assert [column.name for column in known if column.shown] == list(rows[0]), path


def test_shards_are_listed_one_for_each_index(things: TestClient) -> None:
    [row] = things.get("/_cat/shards/things?format=json").json()
    assert ("things", "0", "p", "STARTED", "0") == tuple(
        row[name] for name in ("index", "shard", "prirep", "state", "docs")
    )
    assert 404 == things.get("/_cat/shards/nothing").status_code


def test_templates_of_both_kinds_are_listed(things: TestClient) -> None:
    rows = things.get("/_cat/templates?format=json").json()
    assert [("t", "[x-*]", "3"), ("old", "[y-*]", "0")] == [
        (row["name"], row["index_patterns"], row["order"]) for row in rows
    ]
    assert ["t"] == [row["name"] for row in things.get("/_cat/templates/t*?format=json").json()]


@pytest.mark.parametrize(
    ("state", "colour"), [(State.READY, "green"), (State.DEGRADED, "yellow"), (State.FAILED, "red")]
)
def test_health_is_that_of_the_service(indices: ServerIndices, state: State, colour: str) -> None:
    """The same as `_cluster/health` has it."""

    async def readiness() -> tuple[State, Json]:
        return state, {}

    with TestClient(Starlette(routes=routes(Surroundings(indices, readiness)))) as client:
        [row] = client.get("/_cat/health?format=json").json()
        assert (colour, colour) == (row["status"], client.get("/_cluster/health").json()["status"])


def test_an_index_that_cannot_be_opened_makes_the_health_red(indices: ServerIndices) -> None:
    with TestClient(Starlette(routes=routes(Surroundings(indices, ready)))) as client:
        client.put("/things")
        folder = next(iter(indices.places().values())).directory
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").write_text("no such thing")
        [row] = client.get("/_cat/health?format=json").json()
    assert ("red", "0", "1", "0.0%") == tuple(
        row[name] for name in ("status", "shards", "unassign", "active_shards_percent")
    )


async def ready() -> tuple[State, Json]:
    return State.READY, {}
