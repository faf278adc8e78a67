"""What the engine's schema promises, and the facts of the engine that it relies on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tantivy
from hypothesis import given
from hypothesis import strategies as st
from tantivy import FieldType, Query

from headrace.core.errors import ConfigError, StoreError
from headrace.fields import Field, parse_field
from headrace.index.tantivy import analysis, schema, store
from headrace.index.tantivy.isodates import is_iso_date
from headrace.index.tantivy.positions import count
from writing import matches, rows, searcher, writer


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=2, max_size=4))
def test_two_fields_never_share_an_engine_name_and_the_engine_takes_each(names: list[str]) -> None:
    engine = [schema.engine_name(name) for name in names]
    assert len(set(engine)) == len(names)
    assert all(tantivy.SchemaBuilder.is_valid_field_name(name) and "." not in name for name in engine)
    assert not any(name.startswith("_") for name in engine)


@pytest.mark.parametrize("name", ["_id", "_seq", "_source", "_dyn", "_pos", "_record"])
def test_a_field_with_a_name_of_ours_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="reserved"):
        schema.build({name: Field("keyword")})


def test_an_unknown_analyzer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'english'"):
        schema.build({"t": Field("text", analyzer="englisch")})


def test_fields_beyond_the_limit_live_in_the_dynamic_pair() -> None:
    fields = {"a": Field("keyword"), "j": Field("json"), "b": Field("text"), "c": Field("integer")}
    built = schema.build(fields, field_limit=2)
    assert dict(built.columns) == {"a": "a", "b": "b"}
    assert built.degraded == ("c",)
    assert built.in_dynamic("j")


@pytest.mark.parametrize("analyzer", [name for name in analysis.ANALYZERS if name != "raw"])
def test_every_analyzer_indexes_what_it_says_of_a_text(tmp_path: Path, analyzer: str) -> None:
    made = writer(tmp_path / "i", fields={"t": {"type": "text", "analyzer": analyzer}})
    made.write(rows({"t": "Running horses 42"}))
    made.commit()
    made.close()
    tokens = analysis.analyze(analyzer).analyze("Running horses 42")
    assert tokens
    assert all(matches(tmp_path / "i", "t", token) == 1 for token in tokens)


def test_a_long_token_of_a_text_is_found(tmp_path: Path) -> None:
    """The engine's own analyzer drops tokens over 40 bytes: a SHA-256 would be unfindable."""
    digest = "a1" * 32
    made = writer(tmp_path / "i", fields={"t": "text"})
    made.write(rows({"t": f"image {digest} pulled"}))
    made.commit()
    made.close()
    assert matches(tmp_path / "i", "t", digest) == 1


def test_dates_are_exact_to_the_microsecond_in_ranges_and_have_no_terms(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"d": "date"})
    made.write(rows(*({"d": f"2024-01-02T03:04:05.{micros:06d}Z"} for micros in (100, 200, 300))))
    made.commit()
    made.close()
    index, found = searcher(tmp_path / "i")
    exact = datetime(2024, 1, 2, 3, 4, 5, 200, tzinfo=UTC)
    between = Query.range_query(index.schema, "d", FieldType.Date, lower_bound=exact, upper_bound=exact)
    assert count(found, between) == 1
    with pytest.raises(ValueError, match="not indexed"):
        count(found, Query.term_query(index.schema, "d", exact))
    hits = found.search(Query.all_query(), order_by_field="d", order=tantivy.Order.Desc).hits
    assert [int(key) % 1_000_000_000 for key, _ in hits if key is not None] == [300_000, 200_000, 100_000]


def test_an_index_whose_dates_lost_their_precision_is_not_opened(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"d": "date"})
    made.close()
    path = tmp_path / "i" / store.ENGINE / store.META
    path.write_text(path.read_text().replace("microseconds", "seconds"))
    with pytest.raises(StoreError, match="whole seconds only for d"):
        store.open_engine(tmp_path / "i")


def test_the_precision_of_dates_survives_commits(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"d": "date"})
    made.write(rows({"d": "2024-01-02T03:04:05Z"}))
    made.commit()
    made.close()
    meta = json.loads((tmp_path / "i" / store.ENGINE / store.META).read_text())
    assert meta["segments"]
    assert schema.inexact_dates(meta) == []


TEXTS = [
    "2024-01-02T03:04:05Z",
    "2024-01-02 03:04:05z",
    "2024-01-02_03:04:05Z",
    "2024-01-02T03:04:05.123456789+02:00",
    "2024-01-02T03:04:05",
    "2024-01-02",
    "2024-01-02T24:00:00Z",
    "2024-02-30T03:04:05Z",
    "2024-01-02T03:04:05+0200",
    "9999-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
]


@pytest.mark.parametrize("text", TEXTS)
def test_we_know_which_texts_the_engine_takes_for_dates_in_the_dynamic_pair(
    tmp_path: Path, text: str
) -> None:
    """And which of them we spell so that it does: those without a zone or a time."""
    made = writer(tmp_path / "i")
    made.write(rows({"s": text}))
    made.commit()
    made.close()
    moment = schema.dynamic_date(f"{text}T00:00:00Z" if text.count(":") == 0 else text)
    if moment is None and is_iso_date(text):
        moment = schema.dynamic_date(f"{text}Z")
    assert matches(tmp_path / "i", "_dyn.s", text) == (moment is None)
    assert moment is None or matches(tmp_path / "i", "_dyn.s", moment) == 1


def test_no_query_of_a_user_sees_a_position_document(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"k": "keyword"})
    made.write(rows({"k": "a"}, {"k": "b"}))
    made.commit()
    made.close()
    index, found = searcher(tmp_path / "i")
    assert found.num_docs == 3
    for query in (
        Query.all_query(),
        Query.boolean_query(
            [(tantivy.Occur.MustNot, Query.empty_query()), (tantivy.Occur.Must, Query.all_query())]
        ),
    ):
        assert count(found, schema.exclude_positions(query, index.schema)) == 2
    assert count(found, schema.exclude_positions(schema.positions_query(index.schema), index.schema)) == 0


def test_a_declared_field_is_parsed_as_it_will_be_stored() -> None:
    assert schema.build({"a b.c": parse_field("keyword")}).engine_name("a b.c") == "x$a$20$b$2e$c"
