"""Names, targets and readers of the running service, and of a folder that is only read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from built import build
from headrace.catalogue.entry import Alias
from headrace.catalogue.store import Keeper, read
from headrace.core.errors import ConfigError, RequestError
from headrace.index.base import SearchRequest
from headrace.index.tantivy import Settings
from headrace.layout import catalogue_file, index_directory
from headrace.serve.editing import IndexExists, with_alias
from headrace.serve.folders import FolderReaders
from headrace.serve.indices import Configured, Feed, ServerIndices, configured
from headrace.serve.names import Indices, Target
from headrace.serve.places import New
from headrace.settings import loads

NOW = 1_795_484_400.0
OPTIONS = Settings(fields={"host": "keyword"})

CONFIGURED = {
    "files": Configured("files", options=OPTIONS, fed=True),
    "pushed": Configured("pushed", key=("id",), fed=True, feeds=(Feed("in", "in-log", "indexed"),)),
    "twice": Configured("twice", fed=True, feeds=(Feed("one", "one"), Feed("two", "two"))),
    "idle": Configured("idle", options=OPTIONS),
}


def server(data: Path, **options: Any) -> ServerIndices:
    return ServerIndices(CONFIGURED, Keeper(catalogue_file(data)), data, now=lambda: NOW, **options)


def point(indices: ServerIndices, alias: str, index: str, what: Alias | None = None) -> None:
    known = indices.places()
    anyio.run(indices.change, lambda c: with_alias(c, alias, index, what or Alias(), known))


def test_both_are_what_the_routes_ask_for(tmp_path: Path) -> None:
    """The types agree; mypy compares them."""
    build(index_directory(tmp_path, "logs"), {}, [])
    both: list[Indices] = [server(tmp_path), FolderReaders(tmp_path)]
    assert [["files", "idle", "pushed", "twice"], ["things"]] == [each.names() for each in both]


class TestTargets:
    """Where writes go."""

    def test_one_push_pipeline_takes_the_writes_of_its_index(self, tmp_path: Path) -> None:
        expected = Target("pushed", "pushed", "in-log", "in", ("id",), "indexed")
        assert expected == server(tmp_path).target("pushed")

    def test_several_push_pipelines_have_to_be_told_apart(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="/ingest/one, /ingest/two") as caught:
            server(tmp_path).target("twice")
        assert 400 == caught.value.status

    def test_who_waits_for_an_index_waits_for_every_log_that_feeds_it(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        assert ["one", "two"] == [target.log for target in indices.feeding("twice")]
        assert [indices.target("pushed")] == indices.feeding("pushed")
        assert [] == indices.feeding("files") == indices.feeding("nope")
        assert [anyio.run(indices.create, "new")] == indices.feeding("new")

    @pytest.mark.parametrize("name", ["files", "idle"])
    def test_a_configured_index_without_one_gets_a_log_at_its_first_write(
        self, tmp_path: Path, name: str
    ) -> None:
        """Even where no index may be made by a write: this one is there."""
        indices = server(tmp_path, auto_create=False)
        assert indices.target(name) is None
        target = anyio.run(indices.create, name)
        made = read(catalogue_file(tmp_path)).indexes[name]
        assert made.configured
        assert Target(name, name, made.uuid, f"push:{name}") == target == server(tmp_path).target(name)

    def test_an_index_made_by_a_write_has_a_log_of_its_own(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        assert indices.target("new") is None
        target = anyio.run(indices.create, "new")
        made = read(catalogue_file(tmp_path)).indexes["new"]
        assert Target("new", made.uuid, made.uuid, "push:new") == target == indices.target("new")
        assert (NOW, False) == (made.created, made.configured)
        assert target == anyio.run(indices.create, "new")

    def test_no_index_is_made_where_that_is_off(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"^no such index \[new\] and auto_create is off$") as caught:
            anyio.run(server(tmp_path, auto_create=False).create, "new")
        assert (404, "index_not_found_exception") == (caught.value.status, caught.value.kind)
        assert not catalogue_file(tmp_path).exists()

    def test_concurrent_first_writes_make_one_index(self, tmp_path: Path) -> None:
        indices = server(tmp_path)

        async def many() -> list[Target]:
            return list(await asyncio.gather(*(indices.create("new") for _ in range(20))))

        assert 1 == len({target.uuid for target in asyncio.run(many())})
        assert 1 == read(catalogue_file(tmp_path)).version

    def test_of_concurrent_makers_one_makes_it_and_the_others_are_told(self, tmp_path: Path) -> None:
        indices = server(tmp_path)

        async def many() -> list[object]:
            makers = (indices.make("new", New()) for _ in range(20))
            return list(await asyncio.gather(*makers, return_exceptions=True))

        found = asyncio.run(many())
        assert 19 == sum(isinstance(each, IndexExists) for each in found)
        assert {"new"} == set(read(catalogue_file(tmp_path)).indexes)

    def test_dates_in_a_name_are_those_of_the_write(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        assert "logs-2026.11.24" == anyio.run(indices.create, "<logs-{now/d}>").index
        target = indices.target("<logs-{now/d}>")
        assert target is not None
        assert "logs-2026.11.24" == target.index

    def test_writes_through_an_alias_go_to_its_one_or_its_write_index(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        for name in ("a", "b"):
            anyio.run(indices.create, name)
        point(indices, "al", "a")
        assert indices.target("a") == indices.target("al") == indices.target("al", require_alias=True)
        point(indices, "al", "b")
        with pytest.raises(RequestError, match=r"^no write index is defined for alias \[al\]\."):
            indices.target("al")
        point(indices, "al", "b", Alias(is_write_index=True))
        assert indices.target("b") == indices.target("al")

    def test_an_alias_can_be_required(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        for name in ("pushed", "nope"):
            with pytest.raises(RequestError, match=rf"and \[{name}\] is not an alias$") as caught:
                indices.target(name, require_alias=True)
            assert 404 == caught.value.status


class TestNames:
    """What an index may be called."""

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("Upper", "must be lowercase"),
            ("ÄB", "must be lowercase"),
            ("-a", "must not start with '_', '-', or '+'"),
            ("_a", "must not start with"),
            ("+a", "must not start with"),
            (".", "must not be '.' or '..'"),
            ("..", "must not be '.' or '..'"),
            ("", "must not be empty"),
            ("ü" * 128, "index name is too long, (256 > 255)"),
            *((f"a{bad}b", "must not contain the following characters") for bad in '\\/*?"<>| ,#:\n'),
            *((name, "/es/") for name in ("api", "es", "health", "ingest", "metrics", "openapi.json", "ui")),
        ],
    )
    def test_a_name_that_cannot_be_is_refused_with_the_rule(
        self, tmp_path: Path, name: str, told: str
    ) -> None:
        with pytest.raises(RequestError) as caught:
            anyio.run(server(tmp_path).create, name)
        assert (400, "invalid_index_name_exception") == (caught.value.status, caught.value.kind)
        assert f"Invalid index name [{name}], " in caught.value.reason
        assert told in caught.value.reason
        assert not catalogue_file(tmp_path).exists()

    @pytest.mark.parametrize("name", ["a", "logs-2026.11.24", ".hidden", "ünï", "a_b-c+d", "ü" * 127 + "x"])
    def test_any_other_name_will_do(self, tmp_path: Path, name: str) -> None:
        assert name == anyio.run(server(tmp_path).create, name).index

    def test_the_names_of_configured_and_made_indexes_and_of_aliases_are_taken(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        made = anyio.run(indices.make, "made", New())
        point(indices, "al", "made")
        with pytest.raises(IndexExists, match=rf"^index \[made/{made.uuid}\] already exists$"):
            anyio.run(indices.make, "made", New())
        with pytest.raises(IndexExists, match=r"^index \[files/files\] already exists$"):
            anyio.run(indices.make, "files", New())
        with pytest.raises(RequestError, match=r"^Invalid index name \[al\], already exists as alias$"):
            anyio.run(indices.make, "al", New())

    def test_a_configured_name_that_was_made_before_is_refused_at_the_start(self, tmp_path: Path) -> None:
        keeper = Keeper(catalogue_file(tmp_path))
        anyio.run(ServerIndices({}, keeper, tmp_path).create, "files")
        with pytest.raises(ConfigError, match="DELETE /files first"):
            server(tmp_path)

    def test_a_log_of_a_configuration_that_has_the_index_no_more_is_not_forgotten(
        self, tmp_path: Path
    ) -> None:
        """Its name is free again only when somebody says so: records of that time may still wait in its log."""
        anyio.run(server(tmp_path).create, "idle")
        later = ServerIndices({}, Keeper(catalogue_file(tmp_path)), tmp_path)
        assert [] == later.names()
        with pytest.raises(RequestError, match=r"\[idle\], it was in the configuration .* DELETE it first"):
            anyio.run(later.create, "idle")
        anyio.run(later.change, later.dropping(["idle"]))
        assert "idle" == anyio.run(later.create, "idle").index
        assert [] == later.catalogue.dropped


class TestReaders:
    """What is searched."""

    def test_an_index_without_a_folder_is_empty_and_its_queries_are_checked(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        anyio.run(indices.make, "new", New({"fields": {"host": "keyword", "n": "integer"}}))
        for name in ("new", "idle"):
            reader = indices.get(name)
            request = SearchRequest(aggregations={"hosts": {"terms": {"field": "host"}}})
            found = reader.search(request)
            assert (0, []) == (found.total, list(found.hits))
            assert found.aggregations is not None
            assert [] == found.aggregations["hosts"]["buckets"]  # type: ignore[index,call-overload]
            assert (0, [None]) == (reader.count(None), reader.get(["1"]))
            assert (0, 0) == (reader.stats().documents, reader.stats().size)
            assert {} == reader.watermarks().visible
        with pytest.raises(RequestError):
            indices.get("new").count({"term": {"n": "many"}})

    def test_the_folder_is_opened_as_soon_as_it_is_there(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        target = anyio.run(indices.create, "new")
        assert 0 == indices.get("new").count(None)
        build(index_directory(tmp_path, target.uuid), {}, [{"a": 1}])
        assert 1 == indices.get("new").count(None)
        assert indices.get("new") is indices.get("new")

    def test_a_configured_index_that_a_pipeline_makes_is_not_ready_before(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        with pytest.raises(RequestError, match=r"index \[files\] cannot be searched yet") as caught:
            indices.get("files")
        assert (503, "index_not_ready") == (caught.value.status, caught.value.kind)
        build(index_directory(tmp_path, "files"), {}, [{"a": 1}])
        assert 1 == indices.get("files").count(None)

    def test_one_that_is_not_there_is_a_404_with_the_nearest_name(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"no such index \[fils\], did you mean 'files'\?") as caught:
            server(tmp_path).get("fils")
        assert 404 == caught.value.status

    def test_an_index_made_again_is_another_one(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        first = anyio.run(indices.create, "new")
        build(index_directory(tmp_path, first.uuid), {}, [{"a": 1}])
        assert 1 == indices.get("new").count(None)
        anyio.run(indices.change, indices.dropping(["new"]))
        assert "new" not in indices.names()
        assert [first.uuid] == indices.catalogue.dropped
        second = anyio.run(indices.create, "new")
        assert first.uuid != second.uuid
        assert 0 == indices.get("new").count(None)

    def test_resolving_gives_readers_and_filters(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        for name in ("a1", "a2"):
            anyio.run(indices.create, name)
        bound = {"term": {"host": "web"}}
        point(indices, "web", "a2", Alias(filter=bound))
        found = indices.resolve("web,a1")
        assert [("a2", bound), ("a1", None)] == [(each.name, each.filter) for each in found]
        assert all(0 == each.reader.count(None) for each in found)

    def test_an_alias_of_an_index_that_is_configured_no_more_leads_nowhere(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        point(indices, "al", "files")
        later = ServerIndices({}, Keeper(catalogue_file(tmp_path)), tmp_path)
        assert [] == later.resolve("al")
        assert later.target("al") is None


class TestDropping:
    """What becomes of a deleted index."""

    def test_its_aliases_go_and_its_folder_is_named_for_deletion(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        uuids = [anyio.run(indices.create, name).uuid for name in ("a", "b")]
        for name in ("a", "b"):
            point(indices, "both", name)
        point(indices, "only", "a")
        anyio.run(indices.change, indices.dropping(["a"]))
        left = read(catalogue_file(tmp_path))
        assert (["b"], {"both": {"b": Alias()}}) == (list(left.indexes), left.aliases)
        assert uuids[:1] == left.dropped

    def test_a_configured_one_is_removed_in_the_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"index \[files\] is in the configuration: remove it there"):
            server(tmp_path).dropping(["files"])

    def test_old_identities_are_forgotten_once_their_folders_are_gone(self, tmp_path: Path) -> None:
        """The list of a service that makes an index a day and deletes one a day does not grow for ever."""
        indices = server(tmp_path)
        kept = anyio.run(indices.create, "kept")
        index_directory(tmp_path, kept.uuid).mkdir(parents=True)
        anyio.run(indices.change, indices.dropping(["kept"]))
        for number in range(120):
            anyio.run(indices.create, f"i{number}")
        anyio.run(indices.change, indices.dropping([f"i{number}" for number in range(120)]))
        assert 101 == len(indices.catalogue.dropped)
        assert kept.uuid == indices.catalogue.dropped[0]


class TestFolders:
    """`headrace serve DIR`."""

    def test_a_folder_has_the_names_and_aliases_of_the_service_that_writes_it(self, tmp_path: Path) -> None:
        indices = server(tmp_path)
        target = anyio.run(indices.create, "made")
        build(index_directory(tmp_path, target.uuid), {}, [{"a": 1}])
        anyio.run(indices.create, "no-folder-yet")
        folders = FolderReaders(tmp_path)
        assert ["made", "no-folder-yet"] == folders.names()
        assert [1, 0] == [folders.get(name).count(None) for name in folders.names()]
        point(indices, "al", "made", Alias(filter={"term": {"a": 2}}))
        assert [("made", {"term": {"a": 2}})] == [(n.name, n.filter) for n in folders.resolve("al")]
        anyio.run(indices.change, indices.dropping(["made"]))
        assert ["no-folder-yet"] == folders.names()

    def test_nothing_can_be_written_there(self, tmp_path: Path) -> None:
        build(index_directory(tmp_path, "logs"), {}, [])
        folders = FolderReaders(tmp_path)
        with pytest.raises(RequestError, match="only reads a folder") as caught:
            folders.target("things")
        assert 400 == caught.value.status
        for refused in (folders.create, lambda name: folders.make(name, New())):
            with pytest.raises(RequestError, match="only reads a folder"):
                anyio.run(refused, "things")

    def test_a_copy_beside_its_original_goes_by_its_folder(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            build(index_directory(tmp_path, folder), {}, [])
        assert ["b", "things"] == FolderReaders(tmp_path).names()

    def test_a_damaged_catalogue_costs_its_names_only(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        build(index_directory(tmp_path, "some-uuid"), {}, [{"a": 1}])
        catalogue_file(tmp_path).write_text("{")
        assert 1 == FolderReaders(tmp_path).get("things").count(None)
        assert "is damaged" in caplog.text


def test_the_configuration_says_who_feeds_what() -> None:
    text = """
indexes: { logs: { type: tantivy, id: [a, b] }, other: { type: tantivy } }
pipelines: { p: { source: { type: files, paths: [x.ndjson] }, index: logs } }
"""
    found = configured(loads(text))
    assert (("a", "b"), True, ()) == (found["logs"].key, found["logs"].fed, found["logs"].feeds)
    assert not found["other"].fed
