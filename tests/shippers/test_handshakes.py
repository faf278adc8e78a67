"""What shippers send from their start to their first batch, replayed from their documentation and sources.

The programs are not here. Each test is a conversation in the order in which the program has it with its default
settings, and asserts exactly what that program looks at before it goes on.
"""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import pytest

from services.running import service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""
FILTER = "filter_path=errors,items.*.error,items.*.status"
VENDOR = "application/vnd.elasticsearch+json; compatible-with=8"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One kept connection, as shippers have it, whose requests are sent byte by byte as given."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            headers.setdefault("content_type", "application/json")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, sent, named)
        answer = self.connection.getresponse()
        answered = {name.lower(): value for name, value in answer.getheaders()}
        # The clients of Elastic give up at any answer without it, errors included.
        assert answered["x-elastic-product"] == "Elasticsearch", (method, path)
        return Answer(answer.status, answered, answer.read())

    def found(self, index: str) -> list[dict[str, Any]]:
        assert self("POST", f"/{index}/_refresh").status == 200
        answer = self("POST", f"/{index}/_search", {"size": 100})
        assert answer.status == 200, answer.body
        return [hit["_source"] for hit in answer.json["hits"]["hits"]]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("handshakes")
    with service(folder, CONFIGURATION) as started:
        started.until_ready()
        yield int(started.base.rpartition(":")[2])


@pytest.fixture
def wire(port: int) -> Iterator[Wire]:
    opened = Wire(port)
    yield opened
    opened.connection.close()


def lines(*parts: Any) -> bytes:
    return b"".join(json.dumps(part, separators=(",", ":")).encode() + b"\n" for part in parts)


FILEBEAT_TEMPLATE: dict[str, Any] = {
    "index_patterns": ["filebeat-8.17.0"],
    "data_stream": {},
    "priority": 150,
    "template": {
        "settings": {
            "index": {
                "lifecycle": {"name": "filebeat"},
                "mapping": {"total_fields": {"limit": 12500}},
                "max_docvalue_fields_search": 200,
                "number_of_shards": 1,
                "query": {"default_field": ["message", "tags", "agent.name", "fields.*"]},
                "refresh_interval": "5s",
            },
            "analysis": {"analyzer": {"blocks": {"type": "pattern", "pattern": "[\\W&&[^-]]+"}}},
        },
        "mappings": {
            "_meta": {"beat": "filebeat", "version": "8.17.0"},
            "date_detection": False,
            "dynamic_templates": [
                {"labels": {"path_match": "labels.*", "match_mapping_type": "string", "mapping": {"type": "keyword"}}},
                {
                    "strings_as_keyword": {
                        "match_mapping_type": "string",
                        "mapping": {"type": "keyword", "ignore_above": 1024},
                    }
                },
            ],
            "properties": {
                "@timestamp": {"type": "date"},
                "message": {"type": "match_only_text"},
                "tags": {"type": "keyword", "ignore_above": 1024},
                "agent": {"properties": {"name": {"type": "keyword"}, "hostname": {"type": "alias", "path": "agent.name"}}},
                "client": {"properties": {"ip": {"type": "ip"}, "geo": {"properties": {"location": {"type": "geo_point"}}}}},
                "container": {"properties": {"labels": {"type": "object"}, "cpu": {"type": "scaled_float", "scaling_factor": 1000}}},
                "error": {"properties": {"stack_trace": {"type": "wildcard", "fields": {"text": {"type": "match_only_text"}}}}},
                "script": {"properties": {"text": {"type": "text", "norms": False, "analyzer": "blocks"}}},
                "process": {"properties": {"io": {"type": "object", "enabled": False}, "parts": {"type": "nested"}}},
                "x509": {"properties": {"exponent": {"type": "long", "index": False, "doc_values": False}}},
                "winlog": {"properties": {"data": {"type": "flattened"}}},
            },
        },
    },
}  # fmt: skip
"""One field of each kind that its 12,500 lines have, and all of its settings."""


def test_filebeat_starts_with_its_template_its_policy_and_its_stream(wire: Wire) -> None:
    """Default settings of version 8: nothing is switched off."""
    banner = wire(
        "GET", "/", accept="application/json", user_agent="Elastic-filebeat/8.17.0 (linux; amd64)"
    ).json
    assert [8, 17] == [int(part) for part in banner["version"]["number"].split(".")[:2]]
    assert banner["version"]["build_flavor"] != "serverless"
    license_ = wire("GET", "/_license").json["license"]
    assert ("active", "basic") == (license_["status"], license_["type"])
    assert 404 == wire("GET", "/_ilm/policy/filebeat").status
    rollover = {"hot": {"actions": {"rollover": {"max_primary_shard_size": "50gb", "max_age": "30d"}}}}
    assert 200 == wire("PUT", "/_ilm/policy/filebeat", {"policy": {"phases": rollover}}).status
    assert 404 == wire("HEAD", "/_index_template/filebeat-8.17.0").status
    put = wire("PUT", "/_index_template/filebeat-8.17.0", FILEBEAT_TEMPLATE)
    assert (200, True) == (put.status, put.json["acknowledged"]), put.body
    assert 404 == wire("GET", "/_data_stream/filebeat-8.17.0").status
    assert 200 == wire("PUT", "/_data_stream/filebeat-8.17.0").status
    event = {"@timestamp": "2026-11-24T02:00:00.000Z", "message": 'so "1"', "ecs": {"version": "8.0.0"}}
    body = gzip.compress(lines({"create": {"_index": "filebeat-8.17.0"}}, event), 1)
    headers = {
        "content_type": "application/x-ndjson",
        "content_encoding": "gzip",
        "x_elastic_product_origin": "beats",
    }
    answer = wire("POST", f"/_bulk?{FILTER}", body, **headers)
    assert (200, [{"create": {"status": 201}}]) == (answer.status, answer.json["items"])
    assert [event] == wire.found("filebeat-8.17.0")
    # At the next start all of it is there already.
    assert 200 == wire("GET", "/_ilm/policy/filebeat").status
    assert 200 == wire("HEAD", "/_index_template/filebeat-8.17.0").status


def test_filebeat_7_asks_for_lifecycles_and_goes_on_without(wire: Wire) -> None:
    """With `setup.ilm.enabled: auto` it uses them only where both words are true."""
    ilm = wire("GET", "/_xpack").json["features"]["ilm"]
    assert not (ilm["available"] and ilm["enabled"])
    assert 404 == wire("HEAD", "/_template/filebeat-7.17.0").status
    older = {"index_patterns": ["filebeat-7.17.0-*"], "order": 1, **FILEBEAT_TEMPLATE["template"]}
    assert 200 == wire("PUT", "/_template/filebeat-7.17.0", older).status
    assert 200 == wire("HEAD", "/_template/filebeat-7.17.0").status
    body = lines({"index": {"_index": "filebeat-7.17.0-2026.11.24", "_type": "_doc"}}, {"message": "so"})
    answer = wire("POST", "/_bulk", body, content_type="application/json; charset=UTF-8")
    assert (200, False, 201) == (
        answer.status,
        answer.json["errors"],
        answer.json["items"][0]["index"]["status"],
    )


LOGSTASH_TEMPLATE: dict[str, Any] = {
    "index_patterns": "logstash-*",
    "version": 80001,
    "template": {
        "settings": {
            "index.refresh_interval": "5s",
            "number_of_shards": 1,
            "index.lifecycle.name": "logstash-policy",
            "index.lifecycle.rollover_alias": "logstash",
        },
        "mappings": {
            "dynamic_templates": [
                {
                    "string_fields": {
                        "match": "*",
                        "match_mapping_type": "string",
                        "mapping": {"type": "text", "norms": False, "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
                    }
                }
            ],
            "properties": {
                "@timestamp": {"type": "date"},
                "@version": {"type": "keyword"},
                "geoip": {
                    "dynamic": True,
                    "properties": {
                        "ip": {"type": "ip"},
                        "location": {"type": "geo_point"},
                        "latitude": {"type": "half_float"},
                    },
                },
            },
        },
    },
    "priority": 200,
    "_meta": {"description": "index template for logstash-output-elasticsearch"},
}  # fmt: skip


def test_logstash_starts_with_its_template_its_alias_and_its_policy(wire: Wire) -> None:
    """Default settings: template and lifecycle are managed by it."""
    assert 200 == wire("HEAD", "/").status
    assert 8 == int(wire("GET", "/").json["version"]["number"].partition(".")[0])
    assert wire("GET", "/").json["cluster_uuid"]
    assert "active" == wire("GET", "/_license").json["license"]["status"]
    assert 404 == wire("HEAD", "/_index_template/logstash").status
    assert 200 == wire("PUT", "/_index_template/logstash", LOGSTASH_TEMPLATE).status
    assert 404 == wire("HEAD", "/logstash").status
    alias = {"aliases": {"logstash": {"is_write_index": True}}}
    made = wire("PUT", "/%3Clogstash-%7Bnow%2Fd%7D-000001%3E", alias)
    assert 200 == made.status, made.body
    # Another Logstash that starts at the same time takes exactly this type for success.
    again = wire("PUT", "/%3Clogstash-%7Bnow%2Fd%7D-000001%3E", alias)
    assert (400, "resource_already_exists_exception") == (again.status, again.json["error"]["type"])
    assert 200 == wire("HEAD", "/logstash").status
    assert 404 == wire("GET", "/_ilm/policy/logstash-policy").status
    rollover = {"hot": {"actions": {"rollover": {"max_size": "50gb", "max_age": "30d"}}}}
    assert 200 == wire("PUT", "/_ilm/policy/logstash-policy", {"policy": {"phases": rollover}}).status
    event = {"@timestamp": "2026-11-24T02:00:00.000Z", "@version": "1", "message": "so"}
    body = gzip.compress(lines({"index": {"_index": "logstash", "routing": None}}, event))
    counted = {"x_elastic_event_count": "1", "x_elastic_uncompressed_request_length": "200"}
    answer = wire("POST", f"/_bulk?{FILTER}", body, content_encoding="gzip", **counted)
    assert (200, {"errors": False, "items": [{"index": {"status": 201}}]}) == (answer.status, answer.json)
    assert [event] == wire.found("logstash")


def test_logstash_writes_into_a_data_stream(wire: Wire) -> None:
    """`data_stream => true`: the template is the cluster's own, here the user's."""
    stream = {"index_patterns": ["logs-*-*"], "data_stream": {}, "priority": 100}
    assert 200 == wire("PUT", "/_index_template/logs", stream).status
    event = {"@timestamp": "2026-11-24T02:00:00.000Z", "data_stream": {"type": "logs", "dataset": "generic"}}
    answer = wire("POST", f"/_bulk?{FILTER}", lines({"create": {"_index": "logs-generic-default"}}, event))
    assert {"errors": False, "items": [{"create": {"status": 201}}]} == answer.json
    [shown] = wire("GET", "/_data_stream/logs-generic-default").json["data_streams"]
    assert "logs" == shown["template"]
    assert 200 == wire("DELETE", "/_data_stream/logs-generic-default").status
    assert 200 == wire("DELETE", "/_index_template/logs").status


def test_fluent_bit_finds_the_bytes_it_looks_for(wire: Wire) -> None:
    """It asks nothing at the start; `create` without an id, and with one made of the record's hash."""
    actions = lines({"create": {"_index": "fluent-bit"}}, {"log": "a"})
    actions += lines({"create": {"_index": "fluent-bit", "_id": "4ec4ce3d-f1a5"}}, {"log": "b"})
    headers = {"content_type": "application/x-ndjson", "user_agent": "Fluent-Bit", "content_encoding": "gzip"}
    answer = wire("POST", "/_bulk", gzip.compress(actions), **headers)
    assert (200, True) == (answer.status, b'"errors":false,"items":[' in answer.body)
    # Sent again, the one with an id is a conflict, which it takes for done.
    again = wire("POST", "/_bulk", gzip.compress(actions), **headers).json
    assert [201, 409] == [item["create"]["status"] for item in again["items"]]
    assert ["a", "a", "b"] == sorted(event["log"] for event in wire.found("fluent-bit"))


def test_fluentd_verifies_the_product_and_writes_with_ids(wire: Wire) -> None:
    """Its Ruby client, versions 7 and 8: the content type of its version, an id made by `elasticsearch_genid`."""
    banner = wire("GET", "/", accept=VENDOR, user_agent="elasticsearch-ruby/8.17.0 (RUBY_VERSION: 3.1.2)")
    assert "You Know, for Search" == banner.json["tagline"]
    assert "application/vnd.elasticsearch+json" in banner.headers["content-type"]
    assert 404 == wire("GET", "/_template/fluentd").status
    template = {"index_patterns": ["fluentd-*"], "settings": {"number_of_shards": 1}}
    assert 200 == wire("PUT", "/_template/fluentd", template).status
    body = lines({"index": {"_index": "fluentd-2026.11.24", "_id": "+hash=="}}, {"message": "so"})
    for _ in range(2):
        sent = wire(
            "POST", "/_bulk", body, content_type="application/vnd.elasticsearch+x-ndjson; compatible-with=8"
        )
        assert (200, False) == (sent.status, sent.json["errors"])
    assert [{"message": "so"}] == wire.found("fluentd-2026.11.24")


def test_fluentd_makes_its_data_stream(wire: Wire) -> None:
    """`@type elasticsearch_data_stream`: policy, template, stream, then `create` below the stream's name."""
    policy = {
        "policy": {"phases": {"hot": {"actions": {"rollover": {"max_size": "50gb", "max_age": "30d"}}}}}
    }
    assert 200 == wire("PUT", "/_ilm/policy/fluent_policy", policy).status
    settings = {"index.lifecycle.name": "fluent_policy"}
    template = {"index_patterns": ["fluent*"], "data_stream": {}, "template": {"settings": settings}}
    assert 404 == wire("GET", "/_index_template/fluentds").status
    assert (
        200 == wire("PUT", "/_index_template/fluentds", {**template, "index_patterns": ["fluentds*"]}).status
    )
    assert 404 == wire("GET", "/_data_stream/fluentds").status
    assert 200 == wire("PUT", "/_data_stream/fluentds").status
    body = lines({"create": {}}, {"@timestamp": "2026-11-24T02:00:00.000+00:00", "message": "so"})
    answer = wire("POST", "/fluentds/_bulk", body, content_type="application/x-ndjson")
    assert (200, False) == (answer.status, answer.json["errors"])


def test_fluentd_makes_an_alias_over_a_dated_index(wire: Wire) -> None:
    """With `rollover_index true`: the index first, then its alias with the body of an index."""
    path = "/%3Crolled-%7Bnow%2Fd%7D-000001%3E"
    assert 404 == wire("HEAD", "/_alias/rolled").status
    assert 200 == wire("PUT", path).status
    body = {"aliases": {"rolled": {"is_write_index": True}}}
    assert 200 == wire("PUT", f"{path}/_alias/rolled", body).status
    assert 200 == wire("HEAD", "/_alias/rolled").status
    answer = wire("POST", "/_bulk", lines({"index": {"_index": "rolled"}}, {"message": "so"}))
    assert (200, False) == (answer.status, answer.json["errors"])


def test_the_collector_gets_the_parts_of_items_that_it_asks_for(wire: Wire) -> None:
    """The exporter of later versions than the one that is run; `errors` is among what it leaves out."""
    fields = ("_index", "status", "failure_store", "error.type", "error.reason")
    path = "/_bulk?include_source_on_error=false&filter_path=" + ",".join(
        f"items.*.{name}" for name in fields
    )
    body = lines(
        {"create": {"_index": "otel", "require_data_stream": False, "dynamic_templates": {}}}, {"a": 1}
    )
    assert {"items": [{"create": {"_index": "otel", "status": 201}}]} == wire("POST", path, body).json


@pytest.mark.parametrize("prefix", ["", "/es"])
def test_vector_asks_for_the_version_and_health_and_writes_compressed(wire: Wire, prefix: str) -> None:
    """`api_version: auto`; also below a path, which it takes as part of the endpoint."""
    assert 8 == int(wire("GET", f"{prefix}/").json["version"]["number"].partition(".")[0])
    assert 200 == wire("GET", f"{prefix}/_cluster/health").status
    event = {"message": "so", "timestamp": "2026-11-24T02:00:00.123456789Z"}
    name = f"vector-{len(prefix)}-2026.11.24"
    body = bytes(cramjam.zstd.compress(lines({"index": {"_index": name}}, event)))
    headers = {
        "content_type": "application/x-ndjson",
        "content_encoding": "zstd",
        "accept_encoding": "zstd,gzip",
    }
    answer = wire("POST", f"{prefix}/_bulk?timeout=60s", body, **headers)
    assert (200, False) == (answer.status, b'"errors":true' in answer.body)
    assert [event] == wire.found(name)


def test_vector_is_told_of_a_bad_document_in_the_bytes_it_looks_for(wire: Wire) -> None:
    """A partial failure is found by these bytes alone; the item has what it then logs."""
    body = lines({"index": {"_index": "vector-bad", "_id": "x" * 513}}, {"a": 1})
    answer = wire("POST", "/_bulk?timeout=60s", body, content_type="application/x-ndjson")
    assert (200, True) == (answer.status, b'"errors":true' in answer.body)
    [item] = answer.json["items"]
    assert 400 == item["index"]["status"]
    assert {"type", "reason"} <= set(item["index"]["error"])


def test_rsyslog_sees_that_somebody_is_there(wire: Wire) -> None:
    """Before each batch after a pause it asks for the headers of this alone."""
    assert 200 == wire("HEAD", "/_cat/health").status


def test_a_sniffer_finds_the_address_it_came_by(wire: Wire, port: int) -> None:
    """Telegraf, and Logstash with `sniffing`, write to what is found here."""
    nodes = wire("GET", "/_nodes/http").json["nodes"]
    [node] = nodes.values()
    assert f"127.0.0.1:{port}" == node["http"]["publish_address"]
    assert node["version"]
    assert "ingest" in node["roles"] or "data" in node["roles"]
