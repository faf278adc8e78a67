"""What Grafana's Elasticsearch data source asks, in the shapes it sends, answered in the shapes it reads.

The requests are those of its query builder (time series, raw documents, logs, annotations, health, fields); and
the panels of `examples/grafana` are turned into such requests and answered.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from ruamel.yaml import YAML
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import field_caps, search
from services.running import service

EXAMPLE = Path(__file__).parents[2] / "examples" / "grafana"
FROM, TO = 1_356_998_400_000, 1_357_084_799_999  # the first day of 2013
HOUR = 3_600_000

FIELDS = {
    "time_hour": "date", "carrier": "keyword", "origin": "keyword", "dep_delay": "float", "message": "text",
    "severity": "keyword",
}  # fmt: skip
FLIGHTS = [
    {"time_hour": f"2013-01-01T{hour:02}:00:00Z", "carrier": carrier, "origin": "JFK", "dep_delay": delay,
     "message": f"flight of {carrier} is late", "severity": "info"}
    for hour, carrier, delay in ((5, "UA", 2.0), (5, "AA", 20.0), (6, "UA", 4.0), (6, "B6", -5.0), (8, "UA", 400.0))
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("grafana")
    logs = [{**each, "@timestamp": each["time_hour"]} for each in FLIGHTS]
    readers = Readers(
        {
            "flights": build(folder / "flights", FIELDS, FLIGHTS, commit_every=3),
            "logs-1": build(folder / "logs", {**FIELDS, "@timestamp": "date"}, logs),
        }
    )
    with TestClient(Starlette(routes=[*search.routes(readers), *field_caps.routes(readers)])) as client:
        yield client


def filters(query: str = "*", field: str = "time_hour") -> dict[str, Any]:
    """What every one of its queries is under."""
    when = {"range": {field: {"format": "epoch_millis", "gte": FROM, "lte": TO}}}
    return {"bool": {"filter": [when, {"query_string": {"analyze_wildcard": True, "query": query}}]}}


def over_time(inner: Mapping[str, Any] | None = None, field: str = "time_hour") -> dict[str, Any]:
    """Its date histogram."""
    given: dict[str, Any] = {
        "date_histogram": {
            "field": field, "min_doc_count": 0, "extended_bounds": {"min": FROM, "max": TO},
            "format": "epoch_millis", "fixed_interval": "1h",
        }
    }  # fmt: skip
    return {"2": {**given, **({"aggs": inner} if inner else {})}}


def ask(client: httpx2.Client, *bodies: Mapping[str, Any], index: Any = "flights") -> list[Any]:
    """Its `_msearch`: a header and a body for each query, all in one request."""
    header = {"ignore_unavailable": True, "index": index, "search_type": "query_then_fetch"}
    lines = "".join(f"{json.dumps(header)}\n{json.dumps(body)}\n" for body in bodies)
    answer = client.post(
        "/_msearch?max_concurrent_shard_requests=5",
        content=lines,
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert 200 == answer.status_code
    found: list[Any] = answer.json()["responses"]
    assert len(bodies) == len(found)
    return found


def series(client: TestClient, aggregations: Mapping[str, Any], query: str = "*") -> dict[str, Any]:
    [answer] = ask(client, {"size": 0, "query": filters(query), "aggs": aggregations})
    assert 200 == answer["status"], answer
    found: dict[str, Any] = answer["aggregations"]
    return found


def filled(buckets: Sequence[Mapping[str, Any]], value: str = "doc_count") -> list[Any]:
    return [bucket[value] for bucket in buckets if bucket["doc_count"]]


def test_a_count_over_time_has_every_hour_of_the_range(client: TestClient) -> None:
    buckets = series(client, over_time())["2"]["buckets"]
    assert 24 == len(buckets)
    assert FROM == buckets[0]["key"]
    assert str(FROM) == buckets[0]["key_as_string"]
    assert {FROM + 5 * HOUR: 2, FROM + 6 * HOUR: 2, FROM + 8 * HOUR: 1} == {
        bucket["key"]: bucket["doc_count"] for bucket in buckets if bucket["doc_count"]
    }


def test_each_metric_has_the_form_that_is_read(client: TestClient) -> None:
    """A value, an object of values, percentiles by their texts."""
    metrics = {
        **{
            kind: {kind: {"field": "dep_delay"}}
            for kind in ("avg", "min", "max", "sum", "cardinality", "value_count")
        },
        "extended_stats": {"extended_stats": {"field": "dep_delay", "sigma": "2"}},
        "percentiles": {"percentiles": {"field": "dep_delay", "percents": ["50", "95"]}},
    }
    buckets = series(client, over_time(metrics))["2"]["buckets"]
    five = buckets[5]
    assert [11.0, 2.0, 20.0, 22.0, 2, 2] == [
        five[kind]["value"] for kind in ("avg", "min", "max", "sum", "cardinality", "value_count")
    ]
    assert {"avg", "min", "max", "sum", "count", "std_deviation", "std_deviation_bounds"} <= set(
        five["extended_stats"]
    )
    assert {"upper", "lower"} <= set(five["extended_stats"]["std_deviation_bounds"])
    assert {"50.0", "95.0"} == set(five["percentiles"]["values"])
    assert None is buckets[0]["avg"]["value"]


PIPELINES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "moving function": (
        {"moving_fn": {"buckets_path": "1", "window": 5, "script": "MovingFunctions.unweightedAvg(values)"}},
        [None, 11.0, (11 - 0.5) / 2],
    ),
    "moving function, shifted": (
        {"moving_fn": {"buckets_path": "1", "window": "2", "shift": 1, "script": "MovingFunctions.max(values)"}},
        [11.0, 11.0, 400.0],
    ),
    "serial difference": ({"serial_diff": {"buckets_path": "_count", "lag": 1}}, [2.0, 0.0, 1.0]),
    "cumulative sum": ({"cumulative_sum": {"buckets_path": "1"}}, [11.0, 10.5, 410.5]),
    "bucket script": (
        {"bucket_script": {"buckets_path": {"var1": "1", "var2": "_count"},
                           "script": "params.var1 / params.var2 * 100"}},
        [550.0, -25.0, 40000.0],
    ),
    "bucket script, as older ones send it": (
        {"bucket_script": {"buckets_path": {"a": "1"}, "script": {"inline": "params.a * (1 + 1)"}}},
        [22.0, -1.0, 800.0],
    ),
    "rate": ({"rate": {"field": "dep_delay", "unit": "minute", "mode": "sum"}}, [22 / 60, -1 / 60, 400 / 60]),
    "rate of values": ({"rate": {"field": "dep_delay", "unit": "hour", "mode": "value_count"}}, [2.0, 2.0, 1.0]),
}  # fmt: skip
"""Metrics over others (`1` is an average, `_count` the documents), and their values where there are flights."""


@pytest.mark.parametrize("what", PIPELINES)
def test_metrics_over_metrics_have_a_value_in_each_bucket_with_documents(
    client: TestClient, what: str
) -> None:
    """What its query builder offers for a metric of another metric."""
    pipeline, expected = PIPELINES[what]
    buckets = series(client, over_time({"1": {"avg": {"field": "dep_delay"}}, "3": pipeline}))["2"]["buckets"]
    assert pytest.approx(expected) == [bucket["3"]["value"] for bucket in buckets if bucket["doc_count"]]


def test_they_are_answered_over_several_indexes(client: TestClient) -> None:
    """The pattern of a data source usually means several."""
    aggs = over_time(
        {"1": {"avg": {"field": "dep_delay"}}, "3": {"cumulative_sum": {"buckets_path": "_count"}}}
    )
    [answer] = ask(client, {"size": 0, "query": filters(), "aggs": aggs}, index="flights,logs-*")
    assert [4.0, 8.0, 10.0] == [
        b["3"]["value"] for b in answer["aggregations"]["2"]["buckets"] if b["doc_count"]
    ]


CONFIGURATION = """\
data_dir: data
server:
  port: PORT
  version: 8.19.2
  keys:
    - { name: shipper, secret: the-secret-of-shipper, scopes: [write], indexes: [flights] }
    - { name: grafana, secret: the-secret-of-grafana, scopes: [read], indexes: ["flights*"] }
disk_reserve: 1MB
"""


def test_a_data_source_with_a_key_is_answered_by_a_service_that_wants_one(tmp_path: Path) -> None:
    """Health, version, fields and a panel, with the one scope that its key has; and nothing without the key."""
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        lines = "".join(f'{{"index":{{}}}}\n{json.dumps(flight)}\n' for flight in FLIGHTS)
        with keyed(running.base, "shipper") as shipper:
            headers = {"Content-Type": "application/x-ndjson"}
            sent = shipper.post("/flights/_bulk?refresh=wait_for", content=lines, headers=headers)
            assert (200, False) == (sent.status_code, sent.json()["errors"])
        assert 401 == running.raw("/flights/_mapping")[0]
        with keyed(running.base, "grafana") as source:
            health = source.get("/_cluster/health?wait_for_status=yellow")
            assert (200, "green") == (health.status_code, health.json()["status"])
            assert "8.19.2" == source.get("/").json()["version"]["number"]
            assert "dep_delay" in source.get("/flights/_mapping").json()["flights"]["mappings"]["properties"]
            assert {"date"} == set(source.get("/flights/_field_caps?fields=*").json()["fields"]["time_hour"])
            pipeline, expected = PIPELINES["bucket script"]
            aggs = over_time({"1": {"avg": {"field": "dep_delay"}}, "3": pipeline})
            [answer] = ask(source, {"size": 0, "query": filters(), "aggs": aggs})
            assert expected == [
                b["3"]["value"] for b in answer["aggregations"]["2"]["buckets"] if b["doc_count"]
            ]
            assert 403 == source.post("/flights/_doc", json={}).status_code


def keyed(base: str, name: str) -> httpx2.Client:
    """A client that says who it is as Grafana does."""
    secret = base64.b64encode(f"{name}:the-secret-of-{name}".encode()).decode()
    return httpx2.Client(base_url=base, headers={"Authorization": f"ApiKey {secret}"})


def test_terms_are_ordered_by_a_metric_inside(client: TestClient) -> None:
    terms = {"field": "carrier", "size": 10, "order": {"1": "desc"}, "min_doc_count": 1}
    metric = {"1": {"avg": {"field": "dep_delay"}}}
    found = series(client, {"3": {"terms": terms, "aggs": {**metric, **over_time(metric)}}})["3"]["buckets"]
    assert ["UA", "AA", "B6"] == [bucket["key"] for bucket in found]
    assert [2.0, 4.0, 400.0] == [value["value"] for value in filled(found[0]["2"]["buckets"], "1")]


@pytest.mark.parametrize("order", [{"_count": "desc"}, {"_key": "asc"}, {"_term": "asc"}])
def test_terms_are_ordered_by_count_or_key(client: TestClient, order: Mapping[str, str]) -> None:
    """`_term` is what older versions of it call the key."""
    terms = {"field": "carrier", "size": 500, "order": order, "min_doc_count": 1}
    found = series(client, {"3": {"terms": terms}})["3"]["buckets"]
    assert ("UA" if "_count" in order else "AA") == found[0]["key"]


def test_filters_have_their_labels(client: TestClient) -> None:
    given = {
        "late": {"query_string": {"query": "dep_delay:>15", "analyze_wildcard": True}},
        "on time": {"query_string": {"query": "dep_delay:<=15", "analyze_wildcard": True}},
    }
    found = series(client, {"3": {"filters": {"filters": given}, "aggs": over_time()}})["3"]["buckets"]
    assert {"late": 2, "on time": 3} == {label: bucket["doc_count"] for label, bucket in found.items()}
    assert 24 == len(found["late"]["2"]["buckets"])


def test_histograms_and_top_metrics(client: TestClient) -> None:
    found = series(client, {"3": {"histogram": {"field": "dep_delay", "interval": 100, "min_doc_count": 1}}})
    assert [(-100.0, 1), (0.0, 3), (400.0, 1)] == [(b["key"], b["doc_count"]) for b in found["3"]["buckets"]]
    top = {"top_metrics": {"metrics": [{"field": "dep_delay"}], "sort": [{"time_hour": "desc"}], "size": 1}}
    found = series(client, {"3": {"terms": {"field": "carrier", "size": 1}, "aggs": {"1": top}}})
    [best] = found["3"]["buckets"][0]["1"]["top"]
    assert 400.0 == best["metrics"]["dep_delay"]
    assert isinstance(best["sort"], list)


def test_raw_documents_are_paged_newest_first(client: TestClient) -> None:
    body = {
        "size": 2,
        "query": filters(),
        "sort": [{"time_hour": {"order": "desc", "unmapped_type": "boolean"}}, {"_doc": {"order": "desc"}}],
        "script_fields": {},
        "docvalue_fields": [{"field": "time_hour", "format": "strict_date_optional_time_nanos"}],
    }
    [answer] = ask(client, body)
    hits = answer["hits"]["hits"]
    assert [8, 6] == [datetime.fromisoformat(hit["_source"]["time_hour"]).hour for hit in hits]
    assert all({"_id", "_index", "_source", "sort", "fields"} <= set(hit) for hit in hits)
    assert {"value": 5, "relation": "eq"} == answer["hits"]["total"]
    [rest] = ask(client, {**body, "size": 500, "search_after": hits[-1]["sort"]})
    assert [6, 5, 5] == [
        datetime.fromisoformat(hit["_source"]["time_hour"]).hour for hit in rest["hits"]["hits"]
    ]


def test_logs_are_highlighted_as_it_marks_them(client: TestClient) -> None:
    body = {
        "size": 500,
        "query": filters("message:late", "@timestamp"),
        "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "boolean"}}, {"_doc": {"order": "desc"}}],
        "highlight": {
            "fields": {"*": {}}, "fragment_size": 2_147_483_647, "pre_tags": ["@HIGHLIGHT@"],
            "post_tags": ["@/HIGHLIGHT@"],
        },
        "script_fields": {},
    }  # fmt: skip
    [answer] = ask(client, body, index="logs*")
    hits = answer["hits"]["hits"]
    assert 5 == len(hits)
    assert any("@HIGHLIGHT@late@/HIGHLIGHT@" in text for hit in hits for text in hit["highlight"]["message"])


def test_one_wrong_query_costs_no_other(client: TestClient) -> None:
    wrong, right = ask(
        client,
        {"size": 0, "query": filters("message:(")},
        {"size": 0, "query": filters(), "aggs": over_time()},
    )
    assert {"type", "reason", "root_cause"} <= set(wrong["error"])
    assert 400 == wrong["status"]
    assert 5 == sum(filled(right["aggregations"]["2"]["buckets"]))


def test_an_index_that_is_not_there_yet_is_empty(client: TestClient) -> None:
    """`ignore_unavailable`: a dashboard of tomorrow's logs is no error."""
    [answer] = ask(client, {"size": 0, "query": filters(), "aggs": over_time()}, index="none-yet")
    assert (200, 0) == (answer["status"], answer["hits"]["total"]["value"])


def test_several_indexes_in_one_header(client: TestClient) -> None:
    [answer] = ask(client, {"size": 0, "query": filters(), "aggs": over_time()}, index="flights,logs-1")
    assert 10 == sum(filled(answer["aggregations"]["2"]["buckets"]))


def test_variables_are_terms(client: TestClient) -> None:
    """`{"find": "terms", "field": "carrier"}` of a dashboard's variable."""
    terms = {"terms": {"field": "carrier", "size": 500, "order": {"_key": "asc"}}}
    assert ["AA", "B6", "UA"] == [b["key"] for b in series(client, {"1": terms})["1"]["buckets"]]


def test_the_banner_has_a_version_that_it_knows(client: TestClient) -> None:
    major, minor, _ = client.get("/").json()["version"]["number"].split(".")
    assert (7, 16) <= (int(major), int(minor))


def test_fields_are_found_by_field_caps(client: TestClient) -> None:
    found = client.get("/flights/_field_caps?fields=*").json()["fields"]
    assert {"date"} == set(found["time_hour"])
    assert found["carrier"]["keyword"]["aggregatable"]


BOARDS = sorted((EXAMPLE / "dashboards").glob("*.json"))


def _metric(metric: Mapping[str, Any]) -> dict[str, Any]:
    if metric["type"] == "count":
        return {}
    return {metric["id"]: {metric["type"]: {"field": metric["field"], **metric.get("settings", {})}}}


def _built(target: Mapping[str, Any]) -> dict[str, Any]:
    """A panel's query as the data source builds it."""
    query, field = target["query"].replace("$query", "*"), target["timeField"]
    [metric] = target["metrics"]
    if metric["type"] in ("raw_data", "logs"):
        size = int(next(iter(metric["settings"].values())))
        return {"size": size, "query": filters(query, field), "sort": [{field: {"order": "desc"}}]}
    aggs: dict[str, Any] = _metric(metric)
    for bucket in reversed(target["bucketAggs"]):
        settings = bucket["settings"]
        if bucket["type"] == "date_histogram":
            aggs = over_time(aggs, bucket["field"])
        elif bucket["type"] == "terms":
            order = {settings["orderBy"]: settings["order"]}
            inside = {**_metric(metric), **aggs}
            aggs = {
                bucket["id"]: {
                    "terms": {
                        "field": bucket["field"],
                        "size": int(settings["size"]),
                        "order": order,
                        "min_doc_count": 1,
                    },
                    "aggs": inside,
                }
            }
        else:
            given = {
                each["label"]: {"query_string": {"query": each["query"], "analyze_wildcard": True}}
                for each in settings["filters"]
            }
            aggs = {bucket["id"]: {"filters": {"filters": given}, "aggs": aggs}}
    return {"size": 0, "query": filters(query, field), "aggs": aggs}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_panel_of_the_example_is_answered(client: TestClient, path: Path) -> None:
    """From the indexes of its provisioned data source, with something in each."""
    given = YAML(typ="safe").load(EXAMPLE / "provisioning" / "datasources" / "headrace.yml")
    sources = {source["uid"]: source for source in given["datasources"]}
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel["targets"]:
            source = sources[target["datasource"]["uid"]]
            assert source["jsonData"]["timeField"] == target["timeField"]
            [answer] = ask(client, _built(target), index=source["jsonData"]["index"])
            assert 200 == answer["status"], (panel["title"], answer)
            assert answer["hits"]["total"]["value"] > 0, panel["title"]


def test_the_example_is_provisioned_as_grafana_has_it() -> None:
    given = YAML(typ="safe").load(EXAMPLE / "provisioning" / "datasources" / "headrace.yml")
    assert {"elasticsearch"} == {source["type"] for source in given["datasources"]}
    assert {"proxy"} == {source["access"] for source in given["datasources"]}
    boards = [json.loads(path.read_text()) for path in BOARDS]
    assert len(boards) == len({board["uid"] for board in boards}) == 2
    assert datetime.fromisoformat(boards[0]["time"]["from"]).tzinfo == UTC
