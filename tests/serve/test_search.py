"""The search API over HTTP, as clients use it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import bodies, documents, search, ui

DOCUMENTS = [
    {"host": "web1", "status": 200, "message": "all is well", "geo": {"country": "NO"}},
    {"host": "web2", "status": 500, "message": "connection timed out", "geo": {"country": "DE"}},
    {"host": "db1", "status": 500, "message": "disk full", "name": "Ærø & <b>"},
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    fields = {"host": "keyword", "status": "integer", "message": "text"}
    readers = Readers({"logs": build(tmp_path / "logs", fields, DOCUMENTS)})
    routes = [*search.routes(readers), *documents.routes(readers)]
    with TestClient(Starlette(routes=[*ui.routes(), Mount("/es", routes=routes), *routes])) as client:
        yield client


def test_a_search_by_url_and_by_body_and_under_es_are_one(client: TestClient) -> None:
    by_url = client.get("/logs/_search?q=status:500&sort=host:desc").json()
    body = {"query": {"term": {"status": 500}}, "sort": [{"host": "desc"}]}
    by_body = client.post("/es/logs/_search", json=body).json()
    assert ["web2", "db1"] == [hit["_source"]["host"] for hit in by_url["hits"]["hits"]]
    assert by_url["hits"] == by_body["hits"]
    assert {"value": 2, "relation": "eq"} == by_url["hits"]["total"]


def test_source_is_passed_on_byte_for_byte(client: TestClient) -> None:
    answer = client.get("/logs/_search?q=host:db1")
    expected = '{"host": "db1", "status": 500, "message": "disk full", "name": "Ærø & <b>"}'
    assert expected.encode() in answer.content


def test_answers_are_compact_and_carry_the_product_on_errors_too(client: TestClient) -> None:
    for path in ("/", "/logs/_search", "/nope/_search", "/logs/_search?nope=1", "/logs/_doc/zzz"):
        answer = client.get(path)
        assert "Elasticsearch" == answer.headers["X-Elastic-Product"]
        assert b'": ' not in answer.content.replace(b'"reason"', b"") or path == "/logs/_search"


def test_the_vendor_content_type_is_echoed(client: TestClient) -> None:
    accept = "application/vnd.elasticsearch+json; compatible-with=9"
    answer = client.get("/logs/_count", headers={"Accept": accept})
    assert "application/vnd.elasticsearch+json;compatible-with=9" == answer.headers["Content-Type"]
    assert 3 == answer.json()["count"]


@pytest.mark.parametrize(
    ("path", "status", "kind", "told"),
    [
        ("/nope/_search", 404, "index_not_found_exception", "no such index [nope]"),
        ("/logs/_search?sizee=1", 400, "illegal_argument_exception", "did you mean 'size'"),
        ("/logs/_search?size=x", 400, "illegal_argument_exception", "[size] with value [x]"),
        ("/logs/_search?q=status:many", 400, "query_shard_exception", "[status] of type [integer]"),
        ("/logs/_search?sort=message", 400, "illegal_argument_exception", "neither sorted nor aggregated"),
        ("/logs/_search?from=10000", 400, "illegal_argument_exception", "Result window is too large"),
        ("/logs,other*/_search", 200, "", ""),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    client: TestClient, path: str, status: int, kind: str, told: str
) -> None:
    answer = client.get(path)
    assert status == answer.status_code
    if kind:
        error = answer.json()["error"]
        assert kind == error["type"] == error["root_cause"][0]["type"]
        assert told in error["reason"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"query":', "no JSON"),
        (b"[]", "must be an object"),
        (b'{"qeury":{}}', "did you mean 'query'"),
        (b'{"sort":[{"host":"up"}]}', "asc or desc"),
        (b'{"sort":[{"host":{"nested":{}}}]}', "has no option [nested]"),
        (b'{"highlight":{"fields":{"message":{"colour":1}}}}', "has no option [colour]"),
        (b'{"search_after":[1]}', "needs a [sort]"),
        (b'{"docvalue_fields":[{"feld":"a"}]}', "takes names and objects with a [field]"),
        (b'{"fields":[{"field":"a","format":"nonsense"}]}', "unknown date format [nonsense]"),
        (
            b'{"collapse":{"field":"a","inner_hits":{"name":"x"}}}',
            "use a [terms] aggregation with [top_hits]",
        ),
        (b'{"rescore":{"window_size":1}}', "[rescore] is not supported"),
        (b'{"suggest":{"a":{}}}', "suggestion [a] needs a [term]"),
        (b'{"script_fields":{"a":{}}}', "[script_fields] is not supported"),
        (b'{"runtime_mappings":{"a":{}}}', "[runtime_mappings] is not supported"),
        (b'{"knn":{"field":"a"}}', "there are no vectors"),
        (b'{"explain":true}', "[explain] is not supported"),
        (b'{"indices_boost":[{"a":2}]}', "use a [boost] in the query"),
        (b'{"track_scores":"maybe"}', "must be true or false"),
        (b'{"min_score":"1"}', "[min_score] must be a number"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong(client: TestClient, body: bytes, told: str) -> None:
    answer = client.post("/logs/_search", content=body)
    assert 400 == answer.status_code
    assert told in answer.json()["error"]["reason"]


def test_documents_are_read_one_by_one(client: TestClient) -> None:
    found = client.get("/logs/_doc/1").json()
    assert {"_index": "logs", "_id": "1", "found": True} == {k: found[k] for k in ("_index", "_id", "found")}
    assert DOCUMENTS[1] == found["_source"] == client.get("/logs/_source/1").json()
    assert {"geo": {"country": "DE"}} == client.get("/logs/_source/1?_source_includes=geo.*").json()
    assert 404 == client.get("/logs/_doc/zzz").status_code
    assert not client.get("/logs/_doc/zzz").json()["found"]
    assert 200 == client.head("/logs/_doc/1").status_code
    assert 404 == client.head("/logs/_source/zzz").status_code


def test_the_version_of_a_hit_is_the_one_of_its_write(client: TestClient) -> None:
    """`_seq_no` and one more."""
    found = client.get("/logs/_search?version=true&seq_no_primary_term=true&sort=host").json()["hits"]["hits"]
    assert [("db1", 2, 3), ("web1", 0, 1), ("web2", 1, 2)] == [
        (hit["_source"]["host"], hit["_seq_no"], hit["_version"]) for hit in found
    ]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_undone(
    client: TestClient, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """As clients with `http_compress` send it, to every read."""
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    body = pack(b'{"query": {"term": {"status": 500}}}')
    assert 2 == client.post("/logs/_count", content=body, headers=headers).json()["count"]
    lines = pack(b'{"index":"logs"}\n{"query":{"term":{"host":"db1"}}}\n')
    [answer] = client.post("/_msearch", content=lines, headers=headers).json()["responses"]
    assert 1 == answer["hits"]["total"]["value"]


def test_a_compressed_body_is_bounded_as_it_comes_out(client: TestClient) -> None:
    """A bomb is a 413, damage a 400, an unknown encoding a 415."""

    def post(body: bytes, encoding: str = "gzip") -> tuple[int, str]:
        answer = client.post("/logs/_search", content=body, headers={"Content-Encoding": encoding})
        return answer.status_code, answer.json()["error"]["type"]

    bomb = gzip.compress(b" " * (bodies.LARGEST_BODY + 1))
    assert (413, "content_too_long_exception") == post(bomb)
    assert (400, "compression_exception") == post(bomb[:100])
    assert (400, "compression_exception") == post(b"{}")
    assert (415, "media_type_header_exception") == post(b"{}", "lzma")


def test_filter_path_leaves_the_rest_out(client: TestClient) -> None:
    answer = client.get("/logs/_search?filter_path=hits.total.value,hits.hits._id").json()
    assert {"hits": {"total": {"value": 3}, "hits": [{"_id": "0"}, {"_id": "1"}, {"_id": "2"}]}} == answer


def test_indexes_are_listed(client: TestClient) -> None:
    rows = client.get("/_cat/indices?format=json").json()
    assert [("logs", "3")] == [(row["index"], row["docs.count"]) for row in rows]


def test_a_new_commit_is_seen_by_the_next_search(tmp_path: Path) -> None:
    """The reader looks at `meta.json` at each call."""
    reader = build(tmp_path / "i", {"n": "integer"}, [{"n": 1}])
    assert 1 == reader.count(None)
    writer = reader._index.writer(20_000_000, 1)
    writer.add_json('{"_id":"new","_seq":7,"n":2}')
    writer.commit()
    writer.wait_merging_threads()
    assert 2 == reader.count(None)


def test_the_root_is_a_page_for_browsers_and_a_banner_for_clients(client: TestClient) -> None:
    page = client.get("/", headers={"Accept": "text/html,*/*"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "8.17.0" == client.get("/").json()["version"]["number"]
    assert 200 == client.head("/").status_code
