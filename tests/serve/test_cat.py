"""The `_cat` tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.catalogue.entry import Alias, Catalogue
from headrace.serve import search


class WithCatalogue(Readers):
    """Indexes with aliases, as the server has them."""

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(aliases={name: dict(found) for name, found in self.aliases.items()})


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    readers = WithCatalogue(
        {
            "few": build(tmp_path / "few", {}, [{"n": 1}]),
            "many": build(tmp_path / "many", {}, [{"n": n} for n in range(11)]),
        },
        {"all": {"few": Alias(filter={"match_all": {}}), "many": Alias(is_write_index=True)}},
    )
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def test_indexes_are_a_table_with_the_asked_columns_in_the_asked_order(client: TestClient) -> None:
    answer = client.get("/_cat/indices?v&h=index,docs.count&s=docs.count:desc")
    assert "index docs.count\nmany  11\nfew   1\n" == answer.text
    rows = client.get("/_cat/indices/m*?format=json&bytes=b").json()
    assert [("many", "11")] == [(row["index"], row["docs.count"]) for row in rows]
    assert rows[0]["store.size"].isdigit()
    assert 400 == client.get("/_cat/indices?bytes=zb").status_code
    assert 404 == client.get("/_cat/indices/nope").status_code


def test_counts_and_aliases(client: TestClient) -> None:
    assert "12" == client.get("/_cat/count?format=json").json()[0]["count"]
    assert "1" == client.get("/_cat/count/few?format=json").json()[0]["count"]
    rows = client.get("/_cat/aliases?format=json").json()
    assert [("all", "few", "*"), ("all", "many", "-")] == [
        (row["alias"], row["index"], row["filter"]) for row in rows
    ]
    assert "true" == rows[1]["is_write_index"]
    assert "" == client.get("/_cat/aliases/none").text
