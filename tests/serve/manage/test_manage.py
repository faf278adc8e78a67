"""Management over HTTP, in Elasticsearch's words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from built import build
from headrace.catalogue.store import Keeper, read
from headrace.core.errors import RequestError
from headrace.core.health import State
from headrace.index.tantivy import Settings
from headrace.layout import catalogue_file, index_directory
from headrace.model import Json, Outcome
from headrace.serve.folders import FolderReaders
from headrace.serve.indices import Configured, Feed, ServerIndices
from headrace.serve.manage import Surroundings, routes
from headrace.serve.names import Target

NOW = 1_795_484_400.0
MAPPINGS = {"properties": {"host": {"type": "keyword"}, "geo": {"properties": {"lat": {"type": "double"}}}}}


class Ingester:
    """Remembers what was waited for; says no where it is told to."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, int, str, bool]] = []
        self.away = False

    async def wait(
        self,
        target: Target,
        record: int,
        *,
        level: str,
        results: Sequence[tuple[int, int]] = (),
        force: bool = False,
        within: float = 30.0,
    ) -> list[Outcome]:
        del results, within
        if self.away:
            raise RequestError(503, "outcome_unknown", "the ingester is away")
        self.waits.append((target.pipeline, record, level, force))
        return []


class Service:
    """The routes over a folder, with a state that the test sets."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.state = State.READY
        self.ingester = Ingester()
        self.records: dict[str, int] = {}
        configured = {
            "files": Configured("files", options=Settings(), fed=True),
            "pushed": Configured("pushed", fed=True, feeds=(Feed("in", "in"), Feed("more", "more"))),
        }
        build(index_directory(data, "files"), {"status": "integer"}, [{"status": 200, "word": "a"}])
        build(index_directory(data, "pushed"), {}, [])
        self.indices = ServerIndices(configured, Keeper(catalogue_file(data)), data, now=lambda: NOW)

    async def readiness(self) -> tuple[State, Json]:
        return self.state, {}

    def app(self) -> Starlette:
        accepted = lambda log: self.records.get(log, 0)  # noqa: E731  one line says it
        all_routes = routes(Surroundings(self.indices, self.readiness, self.ingester, accepted))
        return Starlette(routes=[Mount("/es", routes=all_routes), *all_routes])


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(service.app()) as client:
        yield client


def refused(answer: Any, status: int, kind: str, told: str) -> None:
    """The error's status, type and words, in Elasticsearch's shape."""
    body = answer.json()
    assert (status, kind) == (answer.status_code, body["error"]["type"]), body
    assert told in body["error"]["reason"]
    assert kind == body["error"]["root_cause"][0]["type"]
    assert status == body["status"]
    assert "Elasticsearch" == answer.headers["X-Elastic-Product"]


class TestIndexes:
    """PUT, HEAD, GET and DELETE of an index."""

    @pytest.mark.parametrize("prefix", ["", "/es"])
    def test_an_index_is_made_shown_and_deleted(
        self, client: TestClient, service: Service, prefix: str
    ) -> None:
        body = {
            "mappings": MAPPINGS,
            "settings": {"number_of_shards": 3, "index": {"refresh_interval": "5s"}},
            "aliases": {"web": {"filter": {"term": {"host": "w"}}}, "all": {}},
        }
        assert 404 == client.head(f"{prefix}/logs").status_code
        made = client.put(f"{prefix}/logs", json=body).json()
        assert (True, True, "logs") == (made["acknowledged"], made["shards_acknowledged"], made["index"])
        assert 200 == client.head(f"{prefix}/logs").status_code
        shown = client.get(f"{prefix}/logs").json()["logs"]
        entry = read(catalogue_file(service.data)).indexes["logs"]
        assert {"web": {"filter": {"term": {"host": "w"}}}, "all": {}} == shown["aliases"]
        assert MAPPINGS["properties"]["host"] == shown["mappings"]["properties"]["host"]
        assert {"lat": {"type": "double"}} == shown["mappings"]["properties"]["geo"]["properties"]
        settings = shown["settings"]["index"]
        assert {
            "number_of_shards": "3",
            "number_of_replicas": "0",
            "refresh_interval": "5s",
            "provided_name": "logs",
            "uuid": entry.uuid,
            "creation_date": "1795484400000",
            "version": {"created": "8521000"},
        } == settings
        assert {"acknowledged": True} == client.delete(f"{prefix}/logs").json()
        assert 404 == client.head(f"{prefix}/logs").status_code
        assert [entry.uuid] == read(catalogue_file(service.data)).dropped

    def test_an_index_needs_no_body(self, client: TestClient) -> None:
        assert {"acknowledged": True, "shards_acknowledged": True, "index": "a"} == client.put("/a").json()
        assert {"a": {"aliases": {}, "mappings": {"properties": {}}}} == {
            name: {key: part[key] for key in ("aliases", "mappings")}
            for name, part in client.get("/a").json().items()
        }

    def test_a_name_that_is_taken_is_told_with_its_identity(
        self, client: TestClient, service: Service
    ) -> None:
        client.put("/logs")
        uuid = service.indices.catalogue.indexes["logs"].uuid
        answer = client.put("/logs")
        refused(answer, 400, "resource_already_exists_exception", f"index [logs/{uuid}] already exists")
        assert (uuid, "logs") == (answer.json()["error"]["index_uuid"], answer.json()["error"]["index"])
        refused(client.put("/files"), 400, "resource_already_exists_exception", "[files/files]")

    @pytest.mark.parametrize(
        ("path", "body", "kind", "told"),
        [
            ("/Logs", {}, "invalid_index_name_exception", "Invalid index name [Logs], must be lowercase"),
            ("/es/api", {}, "invalid_index_name_exception", "reserved"),
            ("/logs", {"mapings": {}}, "parse_exception", "unknown key [mapings] for create index"),
            ("/logs", {"mappings": []}, "parse_exception", "[mappings] must be an object"),
            ("/logs", {"aliases": {"files": {}}}, "invalid_alias_name_exception", "same name as the alias"),
            ("/logs", {"aliases": {"a b": {}}}, "invalid_alias_name_exception", "must not contain"),
            ("/logs", {"aliases": {"a": {"filter": {"nope": {}}}}}, "parsing_exception", "nope"),
            ("/logs", {"aliases": {"a": {"colour": 1}}}, "parse_exception", "unknown key [colour]"),
            ("/logs?nope=1", {}, "illegal_argument_exception", "unrecognized parameter: [nope]"),
            (
                "/logs",
                {"mappings": {"properties": {"a": {"type": "geo_point_of_no_return"}}}},
                "mapper_parsing_exception",
                "geo_point_of_no_return",
            ),
        ],
    )
    def test_what_cannot_be_made_is_refused_and_nothing_is_left(
        self, client: TestClient, service: Service, path: str, body: Any, kind: str, told: str
    ) -> None:
        refused(client.put(path, json=body), 400, kind, told)
        assert {} == service.indices.catalogue.indexes

    def test_what_is_not_honoured_is_named_in_the_header_and_in_the_body(self, client: TestClient) -> None:
        body = {"aliases": {"al": {"routing": "1", "is_hidden": True}}}
        answer = client.put("/logs", json=body)
        expected = ["[routing] of alias [al] has no effect", "[is_hidden] of alias [al] has no effect"]
        assert expected == answer.json()["headrace"]["not_honoured"]
        assert ", ".join(f'299 Headrace "{text}"' for text in expected) == answer.headers["Warning"]

    @pytest.mark.parametrize("path", ["/*", "/_all", "/lo*", "/logs,*", "/*,-logs"])
    def test_patterns_delete_nothing(self, client: TestClient, path: str) -> None:
        client.put("/logs")
        answer = client.delete(path)
        refused(answer, 400, "illegal_argument_exception", "Wildcard expressions or all indices are not")
        assert 200 == client.head("/logs").status_code

    def test_what_cannot_be_deleted_costs_the_others_nothing(self, client: TestClient) -> None:
        """All of a request or nothing."""
        client.put("/logs", json={"aliases": {"al": {}}})
        refused(client.delete("/logs,nope"), 404, "index_not_found_exception", "no such index [nope]")
        refused(client.delete("/logs,files"), 400, "illegal_argument_exception", "in the configuration")
        told = "The provided expression [al] matches an alias, specify the corresponding concrete indices"
        refused(client.delete("/al"), 400, "illegal_argument_exception", told)
        assert 200 == client.head("/logs").status_code
        assert 200 == client.delete("/logs,nope?ignore_unavailable=true").status_code
        assert 404 == client.head("/logs").status_code

    def test_several_are_asked_for_at_once(self, client: TestClient) -> None:
        client.put("/a1")
        client.put("/a2")
        assert ["a1", "a2"] == list(client.get("/a*").json())
        assert 200 == client.head("/a1,a2").status_code
        assert 404 == client.head("/a1,a3").status_code
        refused(client.get("/a3"), 404, "index_not_found_exception", "no such index [a3]")

    def test_a_name_with_a_date_and_a_slash_in_it_is_one_segment(self, client: TestClient) -> None:
        client.put("/logs-2026.11.24")
        assert ["logs-2026.11.24"] == list(client.get("/%3Clogs-%7Bnow%2Fd%7D%3E").json())

    def test_one_is_made_and_deleted_under_a_name_with_a_date_in_it(self, client: TestClient) -> None:
        """Logstash and Fluentd make the first index of their alias like this."""
        path = "/%3Capp-%7Bnow%2Fd%7D-000001%3E"
        assert "app-2026.11.24-000001" == client.put(path).json()["index"]
        refused(client.put(path), 400, "resource_already_exists_exception", "app-2026.11.24-000001")
        assert client.delete(path).json()["acknowledged"]
        assert 404 == client.head("/app-2026.11.24-000001").status_code

    def test_an_index_is_not_closed(self, client: TestClient) -> None:
        refused(client.post("/files/_close"), 400, "illegal_argument_exception", "closing an index is not")
        assert client.post("/files/_open").json()["acknowledged"]


class TestMappings:
    """`_mapping`: shown, and added to without changing in place."""

    def test_declared_and_found_fields_are_shown(self, client: TestClient) -> None:
        shown = client.get("/files/_mapping").json()["files"]["mappings"]["properties"]
        assert ("long", "text") == (shown["status"]["type"], shown["word"]["type"])
        assert client.get("/files/_mappings").json() == client.get("/files/_mapping").json()
        assert {"files", "pushed"} == set(client.get("/_mapping").json())

    def test_what_is_there_already_is_acknowledged(self, client: TestClient) -> None:
        client.put("/logs", json={"mappings": MAPPINGS})
        answer = client.put("/logs/_mapping", json=MAPPINGS)
        assert {"acknowledged": True} == answer.json()
        assert "Warning" not in answer.headers

    def test_a_new_field_waits_for_the_next_generation_and_that_is_said(
        self, client: TestClient, service: Service
    ) -> None:
        client.put("/logs", json={"mappings": MAPPINGS})
        before = service.indices.catalogue.indexes["logs"].options
        body = {"properties": {"geo": {"properties": {"lon": {"type": "double"}}}}}
        answer = client.put("/logs/_mapping", json=body)
        assert answer.json()["acknowledged"]
        assert "[geo.lon] of index [logs]: a mapping never changes in place" in answer.headers["Warning"]
        entry = service.indices.catalogue.indexes["logs"]
        assert before == entry.options
        assert {"lat", "lon"} == set(entry.mappings["properties"]["geo"]["properties"])
        changed = {"properties": {"geo": {"properties": {"lon": {"type": "keyword"}}}}}
        told = "mapper [geo.lon] cannot be changed from type [double] to [keyword]"
        refused(client.put("/logs/_mapping", json=changed), 400, "illegal_argument_exception", told)

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (
                {"properties": {"host": {"type": "text"}}},
                "mapper [host] cannot be changed from type [keyword]",
            ),
            (
                {"properties": {"geo": {"type": "keyword"}}},
                "can't merge an object mapping [geo] with a non object mapping",
            ),
            (
                {"properties": {"host": {"properties": {"a": {"type": "text"}}}}},
                "can't merge a non object mapping [host] with an object mapping",
            ),
            ({"dynamic": "strict"}, "[dynamic] of index [logs] cannot be changed"),
        ],
    )
    def test_what_is_there_is_never_changed(self, client: TestClient, body: Any, told: str) -> None:
        client.put("/logs", json={"mappings": MAPPINGS})
        refused(client.put("/logs/_mapping", json=body), 400, "illegal_argument_exception", told)

    def test_a_field_of_a_configured_index_is_declared_in_the_configuration(self, client: TestClient) -> None:
        same = client.put("/files/_mapping", json={"properties": {"status": {"type": "long"}}})
        assert 200 == same.status_code, same.json()
        answer = client.put("/files/_mapping", json={"properties": {"extra": {"type": "keyword"}}})
        assert "index [files] is in the configuration: declare [extra] there" in answer.headers["Warning"]

    def test_an_unknown_part_is_refused(self, client: TestClient) -> None:
        told = "unsupported parameters:  [x : 1]"
        refused(client.put("/files/_mapping", json={"x": 1}), 400, "mapper_parsing_exception", told)

    def test_analyzers_and_forms_of_a_field_are_compared_too(self, client: TestClient) -> None:
        """The index's own analyzers are known by name, and the very mapping it has is always accepted."""
        analysis = {
            "analyzer": {"mine": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase"]}}
        }
        title = {"type": "text", "analyzer": "mine", "fields": {"raw": {"type": "keyword"}}}
        mappings = {"properties": {"title": title, "at": {"type": "date", "format": "epoch_millis"}}}
        client.put("/a", json={"mappings": mappings, "settings": {"analysis": analysis}})
        assert mappings == client.get("/a/_mapping").json()["a"]["mappings"]
        assert {"acknowledged": True} == client.put("/a/_mapping", json=mappings).json()
        other = {"properties": {"title": {"type": "text", "analyzer": "english"}}}
        told = "Cannot update parameter [analyzer] from [mine] to [english]"
        refused(client.put("/a/_mapping", json=other), 400, "illegal_argument_exception", told)
        forms = {"properties": {"title": {**title, "fields": {"en": {"type": "text"}}}}}
        assert "[title.en] of index [a]" in client.put("/a/_mapping", json=forms).headers["Warning"]


class TestAliases:
    """`_alias` and `_aliases`."""

    @pytest.fixture(autouse=True)
    def two(self, client: TestClient) -> None:
        for name in ("a", "b"):
            client.put(f"/{name}")

    def act(self, client: TestClient, *actions: Any) -> Any:
        return client.post("/_aliases", json={"actions": list(actions)})

    def test_one_is_put_asked_for_and_deleted(self, client: TestClient) -> None:
        bound = {"term": {"host": "w"}}
        assert {"acknowledged": True} == client.put("/a/_alias/al", json={"filter": bound}).json()
        client.put("/b/_aliases/al", json={"is_write_index": True})
        expected = {
            "a": {"aliases": {"al": {"filter": bound}}},
            "b": {"aliases": {"al": {"is_write_index": True}}},
        }
        assert expected == client.get("/_alias/al").json() == client.get("/_alias/a*").json()
        assert {"a": expected["a"]} == client.get("/a/_alias").json() == client.get("/a/_alias/al").json()
        assert {"aliases": {}} == client.get("/_alias").json()["files"]
        assert 200 == client.head("/_alias/al").status_code
        assert {"acknowledged": True} == client.delete("/a,b/_alias/al").json()
        assert 404 == client.head("/_alias/al").status_code

    def test_a_missing_one_is_named_beside_those_found(self, client: TestClient) -> None:
        client.put("/a/_alias/al")
        answer = client.get("/_alias/al,nope")
        assert (404, "alias [nope] missing", 404, {"aliases": {"al": {}}}) == (
            answer.status_code,
            *(answer.json()[key] for key in ("error", "status", "a")),
        )
        assert {} == client.get("/_alias/nope*").json()
        answer = client.delete("/a/_alias/nope")
        refused(answer, 404, "aliases_not_found_exception", "aliases [nope] missing")

    def test_actions_are_done_at_once(self, client: TestClient, service: Service) -> None:
        """The swap that every reindexing client does, in one version of the catalogue."""
        client.put("/a/_alias/live")
        version = service.indices.catalogue.version
        answer = self.act(
            client,
            {"remove": {"index": "a", "alias": "live"}},
            {"add": {"indices": ["b"], "aliases": ["live", "other"], "is_write_index": True}},
        )
        assert {"acknowledged": True} == answer.json()
        assert version + 1 == service.indices.catalogue.version
        assert {"live": ["b"], "other": ["b"]} == {
            alias: list(indexes) for alias, indexes in service.indices.catalogue.aliases.items()
        }

    def test_an_action_that_fails_undoes_the_others(self, client: TestClient, service: Service) -> None:
        before = service.indices.catalogue
        add = {"add": {"index": "a", "alias": "new"}}
        missing = self.act(client, add, {"remove": {"index": "a", "alias": "nope"}})
        refused(missing, 404, "aliases_not_found_exception", "aliases [nope] missing")
        unknown = self.act(client, add, {"add": {"index": "zzz", "alias": "new"}})
        refused(unknown, 404, "index_not_found_exception", "no such index [zzz]")
        assert before == service.indices.catalogue
        lenient = {"remove": {"index": "a", "alias": "nope", "must_exist": False}}
        assert self.act(client, add, lenient).json()["acknowledged"]

    def test_an_index_is_replaced_by_an_alias_in_one_step(self, client: TestClient, service: Service) -> None:
        """Whatever their order in the request, as Elasticsearch's own example has them."""
        answer = self.act(client, {"add": {"index": "b", "alias": "a"}}, {"remove_index": {"index": "a"}})
        assert {"acknowledged": True} == answer.json(), answer.json()
        assert ["b"] == list(service.indices.select("a"))
        assert 1 == len(service.indices.catalogue.dropped)

    def test_an_alias_has_one_write_index(self, client: TestClient, service: Service) -> None:
        adds = [{"add": {"index": name, "alias": "al", "is_write_index": True}} for name in ("a", "b")]
        told = "alias [al] has more than one write index [a,b]"
        refused(self.act(client, *adds), 400, "illegal_argument_exception", told)
        assert {} == service.indices.catalogue.aliases

    @pytest.mark.parametrize(
        ("actions", "told"),
        [
            ([], "Must specify at least one alias action"),
            ([{"ad": {}}], "unknown key [ad]"),
            ([{"add": {"index": "a"}}], "One of [alias] or [aliases] is required"),
            ([{"add": {"alias": "x"}}], "One of [index] or [indices] is required"),
            ([{"add": {"index": "a", "alias": "b"}}], "same name as the alias"),
            ([{"add": {"index": "a", "alias": "x", "fliter": {}}}], "unknown key [fliter]"),
            ([{"add": {"index": "a", "alias": "x", "filter": {"nope": {}}}}], "nope"),
            ([{"add": {"index": 1, "alias": "x"}}], "must be a name"),
            ([{"remove_index": {"index": "files"}}], "in the configuration"),
            (["add"], "an action is an object"),
        ],
    )
    def test_wrong_actions_are_refused(
        self, client: TestClient, service: Service, actions: Any, told: str
    ) -> None:
        answer = client.post("/_aliases", json={"actions": actions})
        assert 400 == answer.status_code, answer.json()
        assert told in answer.json()["error"]["reason"]
        assert {} == service.indices.catalogue.aliases


class TestSettings:
    """`_settings`."""

    def test_the_two_that_clients_change_are_kept_and_said_to_have_no_effect(
        self, client: TestClient
    ) -> None:
        client.put("/a", json={"settings": {"number_of_replicas": 2}})
        answer = client.put(
            "/a/_settings", json={"index": {"refresh_interval": "-1", "number_of_replicas": 0}}
        )
        assert answer.json()["acknowledged"]
        assert "commit_interval" in answer.headers["Warning"]
        shown = client.get("/a/_settings").json()["a"]["settings"]["index"]
        assert ("-1", "0") == (shown["refresh_interval"], shown["number_of_replicas"])
        flat = client.get("/a/_settings/index.refresh*?flat_settings=true").json()
        assert {"a": {"settings": {"index.refresh_interval": "-1"}}} == flat
        client.put("/a/_settings", json={"refresh_interval": None})
        assert "refresh_interval" not in client.get("/a/_settings").json()["a"]["settings"]["index"]

    def test_any_other_is_refused(self, client: TestClient) -> None:
        client.put("/a")
        answer = client.put("/a/_settings", json={"index.number_of_shards": 2, "refresh_interval": "1s"})
        refused(answer, 400, "illegal_argument_exception", "Can't update settings [index.number_of_shards]")
        assert "1" == client.get("/a/_settings").json()["a"]["settings"]["index"]["number_of_shards"]

    def test_a_configured_index_shows_its_own(self, client: TestClient) -> None:
        assert "files" == client.get("/files/_settings").json()["files"]["settings"]["index"]["provided_name"]


class TestRefresh:
    """`_refresh` and what is near it."""

    def test_every_log_of_the_named_indexes_is_waited_for(self, client: TestClient, service: Service) -> None:
        """Through what was accepted, made visible at once; a log without records has nothing to wait for."""
        client.put("/a")
        uuid = service.indices.catalogue.indexes["a"].uuid
        service.records = {uuid: 7, "in": 3}
        answer = client.post("/a,pushed/_refresh")
        assert {"_shards": {"total": 2, "successful": 2, "failed": 0}} == answer.json()
        assert [("in", 3, "visible", True), ("push:a", 7, "visible", True)] == sorted(service.ingester.waits)

    @pytest.mark.parametrize("path", ["/_refresh", "/_flush", "/_all/_refresh", "/*/_flush"])
    def test_all_indexes_are_refreshed_without_a_name(
        self, client: TestClient, service: Service, path: str
    ) -> None:
        service.records = {"in": 3, "more": 4}
        assert 2 == client.get(path).json()["_shards"]["successful"]
        assert [("in", 3, "visible", True), ("more", 4, "visible", True)] == sorted(service.ingester.waits)

    def test_an_ingester_that_is_away_is_told(self, client: TestClient, service: Service) -> None:
        service.ingester.away = True
        assert 200 == client.post("/_refresh").status_code
        service.records = {"in": 3}
        refused(client.post("/_refresh"), 503, "outcome_unknown", "the ingester is away")

    def test_a_forced_merge_says_that_it_does_nothing(self, client: TestClient) -> None:
        answer = client.post("/files/_forcemerge?max_num_segments=1")
        assert 1 == answer.json()["_shards"]["successful"]
        assert "merges its segments by itself" in answer.headers["Warning"]
        refused(client.post("/nope/_refresh"), 404, "index_not_found_exception", "no such index [nope]")


class TestCluster:
    """Health, nodes, names, sizes."""

    @pytest.mark.parametrize(
        ("state", "status"),
        [(State.READY, "green"), (State.FINISHED, "green"), (State.STARTING, "yellow"),
         (State.DEGRADED, "yellow"), (State.DRAINING, "yellow"), (State.FAILED, "red")],
    )  # fmt: skip
    def test_the_state_has_a_colour(
        self, client: TestClient, service: Service, state: State, status: str
    ) -> None:
        service.state = state
        body = client.get("/_cluster/health").json()
        assert (status, False, 2) == (body["status"], body["timed_out"], body["active_shards"])
        assert "indices" not in body

    def test_a_better_state_is_waited_for(self, client: TestClient, service: Service) -> None:
        service.state = State.DEGRADED
        assert 200 == client.get("/_cluster/health?wait_for_status=yellow").status_code
        late = client.get("/_cluster/health?wait_for_status=green&timeout=0s")
        assert (408, True, "yellow") == (late.status_code, late.json()["timed_out"], late.json()["status"])

    def test_an_index_that_is_not_there_is_waited_for_too(self, client: TestClient) -> None:
        late = client.get("/_cluster/health/nope?wait_for_status=yellow&timeout=1ms")
        assert (408, "red") == (late.status_code, late.json()["status"])
        client.put("/nope")
        assert "green" == client.get("/_cluster/health/nope?wait_for_status=yellow").json()["status"]

    def test_nodes_shards_and_an_index_that_do_not_come_are_a_408(self, client: TestClient) -> None:
        """There is one node, with a shard for each index; a wait for more times out, as in Elasticsearch."""
        for query in ("?wait_for_nodes=5", "?wait_for_nodes=>1", "?wait_for_nodes=gt(1)",
                      "?wait_for_active_shards=3", "/nope?level=indices"):  # fmt: skip
            late = client.get(f"/_cluster/health{query}&timeout=1ms")
            assert (408, True) == (late.status_code, late.json()["timed_out"]), query
        for query in ("wait_for_nodes=1", "wait_for_nodes=>=1", "wait_for_nodes=le(3)", "wait_for_nodes=<2",
                      "wait_for_active_shards=2", "wait_for_active_shards=all"):  # fmt: skip
            found = client.get(f"/_cluster/health?{query}&timeout=1ms")
            assert (200, False) == (found.status_code, found.json()["timed_out"]), query

    def test_an_index_that_cannot_be_opened_is_red(self, client: TestClient, service: Service) -> None:
        (index_directory(service.data, "files") / "index.json").write_text("{")
        body = client.get("/_cluster/health?level=shards").json()
        assert "red" == body["status"] == body["indices"]["files"]["status"]
        assert {"pushed": "green"} == {
            name: part["shards"]["0"]["status"] for name, part in body["indices"].items() if name != "files"
        }

    def test_waiting_ends_when_the_state_is_good(self, client: TestClient, service: Service) -> None:
        states = iter([State.STARTING, State.READY, State.READY])

        async def readiness() -> tuple[State, Json]:
            return next(states), {}

        started = time.monotonic()
        around = Surroundings(service.indices, readiness)
        with TestClient(Starlette(routes=routes(around))) as other:
            assert "green" == other.get("/_cluster/health?wait_for_status=green").json()["status"]
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize(
        "query",
        [
            "wait_for_status=blue",
            "timeout=soon",
            "level=all",
            "nope=1",
            "wait_for_nodes=many",
            "wait_for_nodes=ge2",
            "wait_for_active_shards=-1",
        ],
    )
    def test_wrong_parameters_are_refused(self, client: TestClient, query: str) -> None:
        assert 400 == client.get(f"/_cluster/health?{query}").status_code

    def test_sniffing_clients_are_given_the_address_they_came_by(self, client: TestClient) -> None:
        for path in ("/_nodes", "/_nodes/http", "/_nodes/_all/http", "/es/_nodes/http"):
            (node,) = client.get(path, headers={"Host": "search.example:7223"}).json()["nodes"].values()
            assert "search.example:7223" == node["http"]["publish_address"]
            assert "8.17.0" == node["version"]

    def test_settings_of_the_cluster_are_empty_and_stay_so(self, client: TestClient) -> None:
        assert {"persistent": {}, "transient": {}} == client.get("/_cluster/settings").json()
        answer = client.put("/_cluster/settings", json={"persistent": {"a": 1}})
        refused(answer, 400, "illegal_argument_exception", "set it in the configuration file")

    def test_names_are_resolved(self, client: TestClient) -> None:
        client.put("/a", json={"aliases": {"al": {}}})
        expected = {
            "indices": [{"name": "a", "aliases": ["al"], "attributes": ["open"]}],
            "aliases": [{"name": "al", "indices": ["a"]}],
            "data_streams": [],
        }
        assert expected == client.get("/_resolve/index/a*").json()
        assert [] == client.get("/_resolve/index/al").json()["indices"]
        refused(client.get("/_resolve/index/nope"), 404, "index_not_found_exception", "no such index [nope]")

    def test_only_the_metrics_that_are_asked_for_are_told(self, client: TestClient) -> None:
        body = client.get("/files/_stats/docs,indexing").json()
        assert {"docs"} == set(body["_all"]["total"]) == set(body["indices"]["files"]["primaries"])

    @pytest.mark.parametrize(
        ("setting", "value", "told"),
        [
            ("number_of_shards", 0, "[0] for setting [index.number_of_shards] must be >= 1"),
            ("number_of_shards", "1025", "[1025] for setting [index.number_of_shards] must be <= 1024"),
            ("index.number_of_shards", "two", "[two] for setting [index.number_of_shards]"),
            ("number_of_replicas", -1, "[-1] for setting [index.number_of_replicas] must be >= 0"),
        ],
    )
    def test_a_number_that_no_index_can_have_is_refused(
        self, client: TestClient, setting: str, value: object, told: str
    ) -> None:
        """Also of what is only kept: the same request is refused by Elasticsearch."""
        made = client.put("/few", json={"settings": {setting: value}})
        refused(made, 400, "illegal_argument_exception", told)
        if "replicas" in setting:
            changed = client.put("/files/_settings", json={setting: value})
            refused(changed, 400, "illegal_argument_exception", told)

    @pytest.mark.parametrize("path", ["/_stats", "/_all/_stats", "/files/_stats/docs,store"])
    def test_sizes_are_told(self, client: TestClient, path: str) -> None:
        body = client.get(path).json()
        one = body["indices"]["files"]["primaries"]
        assert 1 == one["docs"]["count"] == body["_all"]["total"]["docs"]["count"]
        assert one["store"]["size_in_bytes"] > 0


def test_an_endpoint_that_is_not_there_is_no_index(client: TestClient) -> None:
    """A path that begins with `_` is never taken for a name."""
    for path in ("/_nope", "/_slm"):
        assert 404 == client.get(path).status_code
        assert 404 == client.put(path).status_code


def test_a_folder_that_is_only_read_shows_everything_and_changes_nothing(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with TestClient(service.app()) as client:
        client.put("/made", json={"mappings": MAPPINGS, "aliases": {"al": {}}})
        expected = client.get("/made").json()
    around = Surroundings(FolderReaders(tmp_path), service.readiness)
    with TestClient(Starlette(routes=routes(around))) as client:
        assert expected == client.get("/al").json()
        assert 200 == client.post("/_refresh").status_code
        assert "green" == client.get("/_cluster/health").json()["status"]
        for method, path, body in [
            ("PUT", "/new", {}),
            ("DELETE", "/made", None),
            ("PUT", "/made/_alias/x", {}),
            ("POST", "/_aliases", {"actions": [{"add": {"index": "made", "alias": "x"}}]}),
            ("PUT", "/made/_mapping", {"properties": {"x": {"type": "keyword"}}}),
            ("PUT", "/made/_settings", {"refresh_interval": "1s"}),
        ]:
            answer = client.request(method, path, json=body)
            refused(answer, 400, "illegal_argument_exception", "only reads a folder")
