"""The real Elasticsearch clients, 8 and 9, unmodified, against the real service."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import elasticsearch8
import elasticsearch8.helpers
import elasticsearch9
import elasticsearch9.helpers
import pytest

from services.running import Running

Client: TypeAlias = Any
"""Two packages with the same names and unrelated types."""

_numbers = itertools.count()


@pytest.fixture(params=[elasticsearch8, elasticsearch9], ids=["8", "9"], scope="module")
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(library: Any, running: Running) -> Iterator[Client]:
    with library.Elasticsearch(running.base, request_timeout=30) as made:
        yield made


@pytest.fixture
def index() -> str:
    return f"things-{next(_numbers)}"


def documents(count: int) -> list[dict[str, Any]]:
    kinds = ("red", "green", "blue")
    return [{"n": n, "kind": kinds[n % 3], "text": f"thing number {n}"} for n in range(count)]


def test_the_client_takes_the_service_for_what_it_speaks(client: Client) -> None:
    """Without its header on every answer the client refuses to go on."""
    assert "You Know, for Search" == client.info()["tagline"]
    assert client.ping()
    assert client.cluster.health()["status"] in ("green", "yellow")


def test_bulk_makes_the_index_and_a_search_finds_what_was_refreshed(
    client: Client, library: Any, index: str
) -> None:
    """The five lines everybody writes first."""
    actions = ({"_index": index, "_id": str(each["n"]), **each} for each in documents(1000))
    assert (1000, []) == library.helpers.bulk(client, actions, refresh="wait_for")
    assert 1000 == client.count(index=index)["count"]
    found = client.search(index=index, query={"match": {"text": "number"}}, size=3, sort=[{"n": "desc"}])
    assert [999, 998, 997] == [hit["_source"]["n"] for hit in found["hits"]["hits"]]
    assert 1000 == found["hits"]["total"]["value"]


def test_streaming_and_parallel_bulk(client: Client, library: Any, index: str) -> None:
    """Every action is answered, in order and from several threads."""
    given = [{"_index": index, **each} for each in documents(500)]
    assert all(ok for ok, _ in library.helpers.streaming_bulk(client, given, chunk_size=50))
    assert all(ok for ok, _ in library.helpers.parallel_bulk(client, given, thread_count=3, chunk_size=50))
    client.indices.refresh(index=index)
    assert 1000 == client.count(index=index)["count"]


def test_scan_gives_each_document_once(client: Client, library: Any, index: str) -> None:
    """Scroll, as `helpers.scan` uses it."""
    given = ({"_index": index, **each} for each in documents(1234))
    library.helpers.bulk(client, given, refresh="wait_for")
    query = {"query": {"term": {"kind": "red"}}}
    seen = [hit["_source"]["n"] for hit in library.helpers.scan(client, index=index, query=query, size=100)]
    assert sorted(seen) == [n for n in range(1234) if n % 3 == 0]


def test_a_document_from_its_making_to_its_deletion(client: Client, library: Any, index: str) -> None:
    """Each write is seen by the next read, without any refresh."""
    assert "created" == client.create(index=index, id="1", document={"n": 1, "tags": {"a": 1}})["result"]
    assert {"n": 1, "tags": {"a": 1}} == client.get(index=index, id="1")["_source"]
    with pytest.raises(library.ConflictError):
        client.create(index=index, id="1", document={"n": 2})
    assert "updated" == client.update(index=index, id="1", doc={"tags": {"b": 2}})["result"]
    assert "noop" == client.update(index=index, id="1", doc={"tags": {"b": 2}})["result"]
    got = client.get(index=index, id="1")
    assert {"n": 1, "tags": {"a": 1, "b": 2}} == got["_source"]
    with pytest.raises(library.ConflictError):
        client.index(index=index, id="1", document={"n": 9}, if_seq_no=got["_seq_no"] + 1, if_primary_term=1)
    client.index(index=index, id="1", document={"n": 3}, if_seq_no=got["_seq_no"], if_primary_term=1)
    assert {"n": 3} == client.get_source(index=index, id="1").body
    assert "deleted" == client.delete(index=index, id="1")["result"]
    assert not client.exists(index=index, id="1")
    with pytest.raises(library.NotFoundError):
        client.get(index=index, id="1")
    with pytest.raises(library.NotFoundError):
        client.delete(index=index, id="1")
    with pytest.raises(library.NotFoundError):
        client.update(index=index, id="2", doc={"n": 1})
    assert "created" == client.update(index=index, id="2", doc={"n": 1}, doc_as_upsert=True)["result"]
    assert "created" == client.update(index=index, id="3", doc={"n": 1}, upsert={"n": 7})["result"]
    found = client.mget(index=index, ids=["2", "3", "4"])["docs"]
    assert [{"n": 1}, {"n": 7}, None] == [each.get("_source") for each in found]


def test_bulk_tells_each_item_apart(client: Client, library: Any, index: str) -> None:
    """Errors stand where their actions stood."""
    client.index(index=index, id="there", document={"n": 1}, refresh="wait_for")
    actions = [
        {"_op_type": "create", "_index": index, "_id": "there", "n": 2},
        {"_op_type": "create", "_index": index, "_id": "new", "n": 3},
        {"_op_type": "update", "_index": index, "_id": "there", "doc": {"m": 5}},
        {"_op_type": "delete", "_index": index, "_id": "absent"},
        {"_op_type": "delete", "_index": index, "_id": "new"},
    ]
    done, errors = library.helpers.bulk(client, actions, raise_on_error=False)
    assert 3 == done
    assert [{"create": 409}, {"delete": 404}] == [
        {kind: item["status"] for kind, item in error.items()} for error in errors
    ]
    assert {"n": 1, "m": 5} == client.get(index=index, id="there")["_source"]


def test_an_index_with_a_mapping_is_what_was_asked_for(client: Client, library: Any, index: str) -> None:
    """Made, described, refused a second time, deleted."""
    properties = {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "price": {"type": "double"},
        "made": {"type": "date"},
        "owner": {"properties": {"name": {"type": "keyword"}}},
    }
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=index, mappings={"properties": properties}, settings=settings)
    assert client.indices.exists(index=index)
    with pytest.raises(library.BadRequestError, match="resource_already_exists_exception"):
        client.indices.create(index=index)
    shown = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    assert {"text", "double", "date"} == {shown[name]["type"] for name in ("title", "price", "made")}
    given = {"title": "The Mill Race", "price": 3, "made": "2026-01-02", "owner": {"name": "Ada"}}
    client.index(index=index, document=given, refresh=True)
    for query in (
        {"match": {"title": "mill"}},
        {"term": {"title.raw": "The Mill Race"}},
        {"range": {"price": {"gte": 3}}},
        {"range": {"made": {"gte": "2026-01-01", "lt": "2026-01-01||+1M/M"}}},
        {"term": {"owner.name": "Ada"}},
    ):
        assert 1 == client.count(index=index, query=query)["count"], query
    client.indices.delete(index=index)
    assert not client.indices.exists(index=index)
    with pytest.raises(library.NotFoundError, match="index_not_found_exception"):
        client.search(index=index)


def test_aggregations_come_in_their_usual_shape(client: Client, library: Any, index: str) -> None:
    """Terms with a metric inside, and a histogram of dates."""
    given = [
        {"kind": kind, "n": n, "at": f"2026-03-{day:02}T10:00:00Z"}
        for n, (kind, day) in enumerate(itertools.product(("a", "b"), (1, 1, 2, 4)))
    ]
    library.helpers.bulk(client, ({"_index": index, **each} for each in given), refresh="wait_for")
    found = client.search(
        index=index,
        size=0,
        aggs={
            "kinds": {"terms": {"field": "kind.keyword"}, "aggs": {"most": {"max": {"field": "n"}}}},
            "days": {"date_histogram": {"field": "at", "calendar_interval": "day", "min_doc_count": 0}},
        },
    )["aggregations"]
    assert {"a": (4, 3.0), "b": (4, 7.0)} == {
        each["key"]: (each["doc_count"], each["most"]["value"]) for each in found["kinds"]["buckets"]
    }
    assert [4, 2, 0, 2] == [each["doc_count"] for each in found["days"]["buckets"]]


def test_pages_by_search_after_and_a_point_in_time_stay_what_they_were(
    client: Client, library: Any, index: str
) -> None:
    """Documents that come meanwhile are not seen, and none is seen twice."""
    library.helpers.bulk(client, ({"_index": index, **each} for each in documents(250)), refresh="wait_for")
    pit = client.open_point_in_time(index=index, keep_alive="1m")["id"]
    library.helpers.bulk(client, ({"_index": index, **each} for each in documents(50)), refresh="wait_for")
    seen: list[int] = []
    after = None
    while True:
        page = client.search(
            pit={"id": pit, "keep_alive": "1m"},
            size=40,
            sort=[{"kind.keyword": "asc"}, {"n": "asc"}],
            search_after=after,
        )["hits"]["hits"]
        if not page:
            break
        seen += [hit["_source"]["n"] for hit in page]
        after = page[-1]["sort"]
    assert sorted(seen) == list(range(250))
    client.close_point_in_time(id=pit)


def test_several_indexes_and_aliases_are_searched_at_once(client: Client, library: Any, index: str) -> None:
    """By pattern, by list, and by an alias that filters."""
    for part in ("a", "b"):
        given = ({"_index": f"{index}-{part}", **each} for each in documents(30))
        library.helpers.bulk(client, given, refresh="wait_for")
    assert 60 == client.count(index=f"{index}-*")["count"]
    client.indices.put_alias(index=f"{index}-a", name=f"{index}-reds", filter={"term": {"kind": "red"}})
    assert 10 == client.count(index=f"{index}-reds")["count"]
    found = client.msearch(
        searches=[{"index": f"{index}-a,{index}-b"}, {"size": 0}, {"index": "nowhere"}, {"size": 0}]
    )["responses"]
    assert (60, 404) == (found[0]["hits"]["total"]["value"], found[1]["status"])


def test_errors_have_their_type_and_reason(client: Client, library: Any, index: str) -> None:
    """What the client raises can be read."""
    client.index(index=index, document={"n": 1}, refresh="wait_for")
    with pytest.raises(library.BadRequestError, match="parsing_exception"):
        client.search(index=index, query={"no_such_query": {}})
    with pytest.raises(library.NotFoundError, match="index_not_found_exception"):
        client.search(index="no-such-index")
