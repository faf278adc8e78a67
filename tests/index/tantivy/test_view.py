"""A view stays at its commit; pages by score have an order among ties."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from built import build
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest, SortKey
from headrace.index.tantivy import scored, store
from headrace.model import Json

SCORE = SortKey("_score", descending=True)
WORD: Json = {"match": {"t": "w"}}


def test_a_view_is_the_same_until_there_is_a_newer_commit_and_stays_at_its_own(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"n": "integer"}, [{"n": n} for n in range(5)], commit_every=2)
    view = reader.view()
    assert view is reader.view()
    writer = store.open_engine(tmp_path / "i").writer(30_000_000, 1)
    writer.delete_all_documents()
    writer.commit()
    writer.garbage_collect_files()
    writer.wait_merging_threads()
    assert view is not reader.view()
    assert (5, 0) == (view.count(None), reader.count(None))
    reader.close()
    assert ["0", "1", "2", "3", "4"] == [
        hit.id for hit in view.search(SearchRequest(sort=[SortKey("n")])).hits
    ]
    assert 5 == sum(frame.height for frame in view.scan(None, 2))
    assert view.get(["3"])[0] is not None
    assert ("p", "q") in view.watermarks().visible


def test_ties_of_a_score_go_by_the_next_key_and_then_by_seq(tmp_path: Path) -> None:
    documents = [{"t": "w", "n": n} for n in (2, 1, 2, 1)] + [{"t": "w w w", "n": 9}]
    view = build(tmp_path / "i", {"t": "text", "n": "integer"}, documents, commit_every=2).view()

    def ids(*keys: SortKey) -> list[str]:
        return [hit.id for hit in view.search(SearchRequest(query=WORD, sort=keys)).hits]

    best = ids(SCORE)[0]
    assert ["0", "1", "2", "3"] == [name for name in ids(SCORE) if name != best]
    assert ["1", "3", "0", "2"] == [name for name in ids(SCORE, SortKey("n")) if name != best]
    assert ["3", "2", "1", "0"] == [name for name in ids(SCORE, SortKey("_seq", True)) if name != best]


def test_a_cursor_of_scores_begins_with_one(tmp_path: Path) -> None:
    view = build(tmp_path / "i", {"t": "text"}, [{"t": "w"}]).view()
    with pytest.raises(RequestError, match="begins with a score"):
        view.search(SearchRequest(query=WORD, sort=[SCORE], search_after=["x", 1]))
    with pytest.raises(RequestError, match="needs a \\[sort\\]"):
        view.search(SearchRequest(search_after=[1]))


def test_more_ties_than_can_be_ordered_are_refused_unless_all_documents_score_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = build(tmp_path / "i", {"t": "text"}, [{"t": "w"} for _ in range(30)]).view()
    monkeypatch.setattr(scored, "MOST_TIES", 20)
    with pytest.raises(RequestError, match="more than 20 documents have the same score"):
        view.search(SearchRequest(query=WORD, sort=[SCORE]))
    found = view.search(SearchRequest(sort=[SCORE], size=3, search_after=[1.0, 6])).hits
    assert ["7", "8", "9"] == [hit.id for hit in found]
    assert 30 == view.search(SearchRequest(query=WORD)).total


def test_a_float_is_found_by_its_value_however_the_engine_reads_its_text(tmp_path: Path) -> None:
    """The engine reads 10 to 27 % of texts as the float beside the nearest; others are not found with it."""
    chance = random.Random(1)
    wanted = [chance.uniform(-1e6, 1e6) for _ in range(200)] + [0.0, 0.1, 1e300, -2.5e-308]
    view = build(tmp_path / "i", {"f": "float"}, [{"f": value} for value in wanted]).view()
    assert [1] * len(wanted) == [view.count({"term": {"f": value}}) for value in wanted]
    assert 0 == view.count({"term": {"f": 0.1000001}})
    assert 2 == view.count({"terms": {"f": [0.1, wanted[0]]}})
