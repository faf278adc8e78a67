"""Lists of names have a length, wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.serve.lists import MOST_NAMES, list_of, parts_of
from serve.doors.table import application, client

if TYPE_CHECKING:
    import httpx2


@given(st.text("a, ", max_size=20))
def test_a_list_is_its_parts_without_spaces_and_empty_ones(text: str) -> None:
    assert [part.strip() for part in text.split(",") if part.strip()] == list(list_of(text))
    assert text.split(",") == parts_of(text)


def test_no_text_is_no_list() -> None:
    assert () == list_of(None) == list_of("")


def test_so_many_names_and_no_more() -> None:
    assert MOST_NAMES == len(parts_of(",".join("a" * MOST_NAMES)))
    with pytest.raises(RequestError, match="has 1025 entries, at most 1024; use patterns, or fewer names"):
        parts_of("a," * MOST_NAMES)


MANY = ",".join(f"a*{number}" for number in range(MOST_NAMES + 1))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/{MANY}/_search"),
        ("GET", f"/{MANY}/_alias"),
        ("GET", f"/_alias/{MANY}"),
        ("DELETE", f"/x/_alias/{MANY}"),
        ("GET", f"/_index_template/{MANY}"),
        ("GET", f"/_data_stream/{MANY}"),
        ("GET", f"/_mapping/field/{MANY}"),
        ("GET", f"/_field_caps?fields={MANY}"),
        ("GET", f"/_cat/nodes?s={MANY}"),
        ("GET", f"/_cat/nodes?h={MANY}"),
        ("GET", f"/_search?sort={MANY}"),
        ("GET", f"/_search?_source={MANY}"),
        ("DELETE", f"/{MANY}"),
    ],
    ids=lambda text: str(text)[:24],
)
def test_a_longer_list_is_refused(tmp_path: Path, method: str, path: str) -> None:
    async def run() -> None:
        async with application(tmp_path, None) as app, client(app) as asked:
            answer: httpx2.Response = await asked.request(method, path)
            assert 400 == answer.status_code, answer.text

    anyio.run(run)


def test_a_table_is_sorted_by_a_column_once(tmp_path: Path) -> None:
    """The first time it is named counts."""

    async def run() -> None:
        async with application(tmp_path, None) as app, client(app) as asked:
            for name in ("one", "two"):
                assert 200 == (await asked.put(f"/{name}")).status_code
            for sort, expected in (
                ("index,index:desc", ["one", "two"]),
                ("docs.count,index:desc,index", ["two", "one"]),
            ):
                rows = (await asked.get(f"/_cat/indices/one,two?format=json&s={sort}")).json()
                assert expected == [row["index"] for row in rows]

    anyio.run(run)
