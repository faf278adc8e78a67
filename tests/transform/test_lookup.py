"""lookup: fields from a table by key; the table may change while it is used."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.model import RECORD
from headrace.transform import lookup
from tick import TickClock

from .frames import assert_lawful, context, frame_of, kept

AIRLINES = "carrier,name,fleet\nAA,American,900\nUA,United,800\n007,Bond,1\n"
BY_CARRIER = {"table": "airlines.csv", "key": "carrier", "add": {"airline": "name"}}


def step(base: Path, clock: TickClock | None = None, **options: Any) -> lookup.Lookup:
    given_options = {**BY_CARRIER, **options}
    return lookup.create(
        msgspec.convert(given_options, lookup.Settings), context(base, clock=clock or TickClock())
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "airlines.csv").write_text(AIRLINES)
    return tmp_path


FLIGHTS = frame_of(carrier=["UA", "XX", None, "AA", "007"], n=[1, 2, 3, 4, 5])


def test_found_values_are_added_in_order_and_a_null_is_never_found(base: Path) -> None:
    transform = step(base)
    assert transform.bind(FLIGHTS.schema)["airline"] == pl.String
    outcome = transform.apply(FLIGHTS)
    assert outcome.frame["airline"].to_list() == ["United", None, None, "American", "Bond"]
    assert kept(outcome) == [0, 1, 2, 3, 4]
    assert outcome.frame.columns == ["_record", "carrier", "n", "airline"]


def test_a_miss_can_reject(base: Path) -> None:
    transform = step(base, on_miss="reject")
    transform.bind(FLIGHTS.schema)
    outcome = transform.apply(FLIGHTS)
    assert kept(outcome) == [0, 3, 4]
    assert [(r.record, r.reason, r.detail) for r in outcome.rejections] == [
        (1, "lookup_miss", "carrier='XX' is not in airlines.csv"),
        (2, "lookup_miss", "carrier=None is not in airlines.csv"),
    ]


def test_a_miss_can_get_defaults(base: Path) -> None:
    transform = step(base, add=["name", "fleet"], on_miss="default", default={"name": "other"})
    transform.bind(FLIGHTS.schema)
    rows = transform.apply(FLIGHTS).frame.select("name", "fleet").rows()
    assert rows[:3] == [("United", 800), ("other", None), ("other", None)]


def test_a_kept_miss_keeps_what_the_record_had(base: Path) -> None:
    transform = step(base)
    frame = FLIGHTS.with_columns(airline=pl.lit("own"))
    transform.bind(frame.schema)
    assert transform.apply(frame).frame["airline"].to_list()[:3] == ["United", "own", "own"]


def test_a_number_finds_the_same_number_in_any_table(tmp_path: Path) -> None:
    table = pl.DataFrame({"code": [7, 8], "name": ["seven", "eight"]})
    table.write_parquet(tmp_path / "t.parquet")
    table.write_csv(tmp_path / "t.csv")
    table.write_csv(tmp_path / "t.tsv", separator="\t")
    table.write_ndjson(tmp_path / "t.ndjson")
    for name in ("t.parquet", "t.csv", "t.tsv", "t.ndjson"):
        transform = step(tmp_path, table=name, key={"x": "code"}, add=["name"])
        for keys in ([8, None], ["8", None]):
            frame = frame_of(x=keys)
            transform.bind(frame.schema)
            assert transform.apply(frame).frame["name"].to_list() == ["eight", None]


def test_several_keys_must_all_match(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,v\n1,x,one\n1,y,two\n")
    transform = step(tmp_path, table="t.csv", key=["a", "b"], add=["v"])
    frame = frame_of(a=[1, 1, 2, 1], b=["y", "x", "x", None])
    transform.bind(frame.schema)
    assert transform.apply(frame).frame["v"].to_list() == ["two", "one", None, None]


def test_records_whose_key_has_a_type_that_cannot_be_one_find_nothing(base: Path) -> None:
    transform = step(base)
    transform.bind(FLIGHTS.schema)
    assert transform.apply(frame_of(carrier=[1.5])).frame["airline"].to_list() == [None]


def test_a_declared_text_means_no_value(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,v\na,NA\nb,2\n")
    transform = step(tmp_path, table="t.csv", key="k", add=["v"], null_values=["NA"])
    frame = frame_of(k=["a", "b"])
    assert transform.bind(frame.schema)["v"] == pl.Int64
    assert transform.apply(frame).frame["v"].to_list() == [None, 2]


def test_which_of_two_rows_counts_must_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,v\na,1\nb,2\na,3\n")
    with pytest.raises(
        ConfigError, match=r"t\.csv has k=a twice, in rows 1 and 3; say duplicates: first or last"
    ):
        step(tmp_path, table="t.csv", key="k", add=["v"]).bind(frame_of(k=["a"]).schema)
    for duplicates, expected in (("first", 1), ("last", 3)):
        transform = step(tmp_path, table="t.csv", key="k", add=["v"], duplicates=duplicates)
        transform.bind(frame_of(k=["a"]).schema)
        assert transform.apply(frame_of(k=["a"])).frame["v"].to_list() == [expected]


def test_a_changed_table_is_read_again_after_the_interval(base: Path) -> None:
    clock = TickClock()
    transform = step(base, clock, reload_interval=2)
    transform.bind(FLIGHTS.schema)
    (base / "airlines.csv").write_text(AIRLINES.replace("United", "United Airlines"))
    assert transform.apply(FLIGHTS).frame["airline"][0] == "United"
    clock.advance(2)
    assert transform.apply(FLIGHTS).frame["airline"][0] == "United Airlines"


@pytest.mark.parametrize(
    "broken", ["carrier,nom\nUA,x\n", "", "carrier,name\nUA,x\nUA,y\n", None, "carrier,name\nUA,5\n"]
)
def test_a_broken_table_leaves_the_last_good_one_and_is_said_once(
    base: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = TickClock()
    transform = step(base, clock)
    transform.bind(FLIGHTS.schema)
    if broken is None:
        (base / "airlines.csv").unlink()
    else:
        (base / "airlines.csv").write_text(broken)
    with caplog.at_level(logging.INFO, "headrace"):
        for _ in range(3):
            clock.advance(1)
            assert transform.apply(FLIGHTS).frame["airline"][0] == "United"
        assert [r.getMessage().split()[0] for r in caplog.records] == ["lookup.reload_failed"]
        (base / "airlines.csv").write_text("carrier,name\nUA,repaired\n")
        clock.advance(1)
        assert transform.apply(FLIGHTS).frame["airline"][0] == "repaired"
        assert caplog.records[-1].getMessage().startswith("lookup.reloaded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "none.csv"}, "no table at"),
        ({"table": "airlines.xlsx"}, "airlines.xlsx is no table: its name must end in .csv"),
        ({"key": "carier"}, "unknown field 'carier', did you mean 'carrier'"),
        ({"key": {"carrier": "carier"}}, "airlines.csv has no column 'carier', did you mean 'carrier'"),
        ({"add": ["nam"]}, "airlines.csv has no column 'nam', did you mean 'name'"),
        ({"add": {"_id": "name"}}, "belongs to headrace"),
        ({"key": "x"}, "field 'x' is of type Float64, which cannot be a key"),
        ({"on_miss": "default"}, "on_miss: default and default: {field: value} go together"),
        ({"default": {"airline": "x"}}, "go together"),
        ({"on_miss": "default", "default": {"airlin": "x"}}, "which is not added, did you mean 'airline'"),
        ({"on_miss": "default", "default": {"airline": 5}}, "5 is not of type String"),
    ],
)
def test_wrong_options_are_refused(base: Path, options: dict[str, Any], message: str) -> None:
    frame = FLIGHTS.with_columns(x=pl.lit(1.5))
    with pytest.raises(ConfigError) as caught:
        step(base, **options).bind(frame.schema)
    assert message in str(caught.value)


@given(
    st.lists(st.none() | st.sampled_from(["AA", "UA", "XX", "007"]), max_size=8),
    st.sampled_from(["keep", "reject", "default"]),
    st.lists(st.integers(0, 8), max_size=3),
)
def test_any_split_gives_the_same(keys: list[str | None], on_miss: str, cuts: list[int]) -> None:
    base = Path(__file__).parent
    default = {"airline": "?"} if on_miss == "default" else {}
    transform = step(base, table="airlines.csv", on_miss=on_miss, default=default)
    frame = pl.DataFrame({"carrier": keys}, schema={"carrier": pl.String}).with_row_index(RECORD)
    frame = frame.cast({RECORD: pl.Int64})
    transform.bind(frame.schema)
    assert_lawful(transform, frame, cuts)


def test_its_memory_is_that_of_the_table_three_times_over(base: Path) -> None:
    """The one in use, its successor, and the text that one is read from: a reload must fit in the budget."""
    transform = step(base)
    transform.bind(FLIGHTS.schema)
    assert transform.worst_case_bytes == 3 * transform._table.estimated_size() > 0
