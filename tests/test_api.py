"""Headrace from Python: index, open, search; synchronous, also inside a running loop."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
import headrace.aio
from headrace.core.errors import ConfigError, Fatal, RequestError, StoreError
from headrace.model import Json

FLIGHTS = pl.DataFrame(
    {
        "flight": ["UA1", "AA2", "DL3", "UA4"],
        "origin": ["EWR", "JFK", "LGA", "EWR"],
        "delay": [12.5, None, -3.0, 240.0],
        "note": ["late because of snow", None, "early", "late because of a late crew and snow"],
    }
)


class Arrow:
    """Some other library's frame: all that is known of it is that it speaks Arrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def test_a_frame_is_searchable_and_comes_back(tmp_path: Path) -> None:
    with headrace.index(FLIGHTS, into=tmp_path / "flights") as index:
        assert index.summary is not None
        assert (index.summary.read, index.summary.indexed, index.summary.documents) == (4, 4, 4)
        found = index.search("origin:EWR AND delay:>100")
        assert (found.total, found.to_polars()["flight"].to_list()) == (1, ["UA4"])
        assert index.search("note:snow", sort="delay:desc").to_polars()["flight"].to_list() == ["UA4", "UA1"]
        assert index.count() == 4
        body: dict[str, Json] = {"size": 0, "aggs": {"by": {"terms": {"field": "origin"}}}}
        buckets = index.search(body).aggregations["by"]["buckets"]
        assert {b["key"]: b["doc_count"] for b in buckets} == {"EWR": 2, "JFK": 1, "LGA": 1}
        (hit,) = index.search("flight:DL3").hits
        assert index.get(hit.id) == {"flight": "DL3", "origin": "LGA", "delay": -3.0, "note": "early"}
        assert index.get("no such id") is None


def test_the_same_frame_again_adds_nothing_and_another_one_adds_its_own(tmp_path: Path) -> None:
    headrace.index(FLIGHTS, into=tmp_path).close()
    with headrace.index(FLIGHTS, into=tmp_path) as again:
        assert again.summary is not None
        assert (again.summary.read, again.summary.documents) == (0, 4)
    with headrace.index(FLIGHTS.head(1).with_columns(flight=pl.lit("B65")), into=tmp_path) as more:
        assert more.count() == 5


def test_a_declared_id_replaces(tmp_path: Path) -> None:
    headrace.index(FLIGHTS, into=tmp_path, id="flight").close()
    changed = FLIGHTS.with_columns(delay=pl.lit(0.0))
    with headrace.index(changed, into=tmp_path, id="flight") as index:
        assert index.count() == 4
        assert index.get("UA4") == {
            "flight": "UA4",
            "origin": "EWR",
            "delay": 0.0,
            "note": "late because of a late crew and snow",
        }


def test_files_are_indexed_by_path_and_glob(tmp_path: Path) -> None:
    for part in range(3):
        lines = [json.dumps({"n": part * 10 + number}) for number in range(10)]
        (tmp_path / f"part{part}.ndjson").write_text("\n".join(lines) + "\n")
    with headrace.index(str(tmp_path / "part*.ndjson"), into=tmp_path / "out") as index:
        assert index.count() == 30
        assert index.search("n:[5 TO 14]").total == 10


def test_an_arrow_speaking_frame_is_taken_as_it_is(tmp_path: Path) -> None:
    """Anything with the Arrow stream interface, such as a pandas frame; a result of ours is one too."""
    with headrace.index(Arrow(FLIGHTS), into=tmp_path / "a") as first:
        assert first.count() == 4
        result = first.search("*", size=10)
    with pytest.raises(ConfigError, match=r"_id.*rename or drop"):
        headrace.index(result, into=tmp_path / "b")


def test_it_works_inside_a_running_loop(tmp_path: Path) -> None:
    async def notebook_cell() -> int:
        with headrace.index(FLIGHTS, into=tmp_path) as index:
            return index.count("origin:EWR")

    assert asyncio.run(notebook_cell()) == 2


@pytest.mark.anyio
async def test_the_same_names_are_coroutines_in_aio(tmp_path: Path) -> None:
    async with await headrace.aio.index(FLIGHTS, into=tmp_path) as index:
        assert await index.count() == 4
    async with await headrace.aio.open(tmp_path) as index:
        assert (await index.search("flight:UA1")).total == 1
        assert await index.get("none") is None
        assert (await index.answer({"size": 0}))["hits"]["total"]["value"] == 4


def test_aio_lacks_no_name() -> None:
    """Whoever imports only `headrace` has it, too."""
    assert set(headrace.__all__) - {"__version__", "aio"} == set(headrace.aio.__all__)
    methods = {name for name in vars(headrace.Index) if not name.startswith("_")}
    assert methods == {name for name in vars(headrace.aio.Index) if not name.startswith("_")} - {"summary"}
    found = subprocess.run(
        [sys.executable, "-c", "import headrace; print(headrace.aio.open.__name__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "open\n"


@pytest.mark.anyio
async def test_a_configuration_is_run_beside_others_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"n": 1}\n{"n": 2}\n')
    config = tmp_path / "headrace.yaml"
    config.write_text(
        "data_dir: data\ndisk_reserve: 1MB\nindexes: { i: { type: tantivy } }\n"
        "pipelines: { p: { source: { type: files, paths: [a.ndjson] }, index: i } }\n"
    )
    await headrace.aio.run(config, once=True)
    async with await headrace.aio.open(tmp_path / "data") as index:
        assert await index.count() == 2


def test_opening_what_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no index directory"):
        headrace.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="make one with `headrace index FILES --into"):
        headrace.open(tmp_path)
    with pytest.raises(Fatal, match="is the service running"):
        headrace.open("http://127.0.0.1:9", name="x").count()


def test_what_cannot_be_asked_is_refused_with_the_reason(tmp_path: Path) -> None:
    with headrace.index(FLIGHTS, into=tmp_path) as index:
        with pytest.raises(RequestError, match="supported"):
            index.search({"query": {"mach": {"note": "snow"}}})
        with pytest.raises(RequestError):
            index.search({"siez": 3})


def test_another_type_for_a_field_of_an_existing_index_is_refused(tmp_path: Path) -> None:
    headrace.index(FLIGHTS, into=tmp_path).close()
    with pytest.raises(StoreError, match="origin"):
        headrace.index(FLIGHTS, into=tmp_path, fields={"origin": "text"})


def test_a_name_that_no_record_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """An id would reject every record; a field of a frame cannot be there later."""
    with pytest.raises(ConfigError, match="id 'fligth' is not a column of the frame, did you mean 'flight'"):
        headrace.index(FLIGHTS, into=tmp_path, id="fligth")
    with pytest.raises(ConfigError, match="field 'orgin' is not a column of the frame, did you mean 'orig"):
        headrace.index(FLIGHTS, into=tmp_path, fields={"orgin": "keyword"})
    copied = {"all": "text", "origin": {"type": "keyword", "copies": ["all"]}}
    with headrace.index(FLIGHTS, into=tmp_path, fields=copied) as index:
        assert index.count() == 4


def test_a_declared_field_that_files_may_have_later_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.ndjson").write_text('{"price": 1}\n')
    headrace.index(tmp_path / "a.ndjson", into=tmp_path / "i", fields={"prise": "float"}).close()
    assert "field 'prise' is not a field of the first records, did you mean 'price'" in caplog.text
    with pytest.raises(ConfigError, match="id 'nothere' is not a field of the first records, have: price"):
        headrace.index(tmp_path / "a.ndjson", into=tmp_path / "j", id="nothere")


def test_an_unknown_option_of_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fromat"):
        headrace.index("x.csv", into=tmp_path, options={"fromat": "csv"})


VALUES = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.text(max_size=8), st.booleans())


@settings(max_examples=15)
@given(rows=st.lists(st.fixed_dictionaries({"n": st.integers(0, 99), "s": st.text(max_size=9)}), max_size=30))
def test_any_frame_comes_back_from_source(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    frame = pl.DataFrame(rows, schema={"n": pl.Int64, "s": pl.String})
    with headrace.index(frame, into=tmp_path_factory.mktemp("any")) as index:
        found = index.search("*", size=100, sort="_doc").to_polars()
        assert found.height == len(rows)
        if rows:
            assert found.select("n", "s").rows() == frame.rows()
