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
from headrace.serve.cat import _sortable


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


def test_columns_go_by_their_short_names_too(client: TestClient) -> None:
    """The heading is the name that was asked by; an unknown one is left out, as Elasticsearch does."""
    answer = client.get("/_cat/indices?h=i,dc,nope,shards.primary&s=i:desc&v")
    assert "i    dc shards.primary\nmany 11 1\nfew  1  1\n" == answer.text
    assert [{"i": "few", "docsCount": "1"}] == client.get(
        "/_cat/indices/few?h=i,docsCount&format=json"
    ).json()
    assert "docs.count docs.deleted\n1          0\n" == client.get("/_cat/indices/few?h=docs.*&v").text
    assert "12\n" == client.get("/_cat/count?h=dc").text
    assert "all few\nall many\n" == client.get("/_cat/aliases?h=a,i").text
    [row] = client.get("/_cat/indices/few?format=json&h=cd,creation.date.string").json()
    assert {"cd": "0", "creation.date.string": "1970-01-01T00:00:00.000Z"} == row


def test_a_column_that_there_is_none_of_cannot_be_sorted_by(client: TestClient) -> None:
    answer = client.get("/_cat/indices?s=docs")
    assert 400 == answer.status_code
    assert "Unable to sort by unknown sort key `docs` (have: health," in answer.json()["error"]["reason"]
    assert 400 == client.get("/_cat/indices?s=index:down").status_code
    assert "many\nfew\n" == client.get("/_cat/indices?h=i&s=dc:desc,i").text


def test_sizes_are_sorted_by_their_size() -> None:
    cells = ["2mb", "900b", "3.5kb", "-", "1gb", "30kb"]
    assert ["900b", "3.5kb", "30kb", "2mb", "1gb", "-"] == sorted(cells, key=_sortable)


def test_a_table_without_rows_has_its_headings_still(client: TestClient) -> None:
    headings = "alias index filter routing.index routing.search is_write_index\n"
    assert headings == client.get("/_cat/aliases/none?v").text
    assert "a i\n" == client.get("/_cat/aliases/none?v&h=a,i,nope").text
    assert [] == client.get("/_cat/aliases/none?v&format=json").json()


def test_counts_and_aliases(client: TestClient) -> None:
    assert "12" == client.get("/_cat/count?format=json").json()[0]["count"]
    assert "1" == client.get("/_cat/count/few?format=json").json()[0]["count"]
    rows = client.get("/_cat/aliases?format=json").json()
    assert [("all", "few", "*"), ("all", "many", "-")] == [
        (row["alias"], row["index"], row["filter"]) for row in rows
    ]
    assert "true" == rows[1]["is_write_index"]
    assert "" == client.get("/_cat/aliases/none").text
