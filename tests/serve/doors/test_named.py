"""What a request names in its body is held to the same as what it names in its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from serve.doors import named
from serve.doors.named import CASES, DOORS, NAMELESS, Found
from serve.doors.table import NAMED, NAMED_END, PAGE, application, client, endpoints, header, with_table


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Found]:
    return anyio.run(named.found, Path(tmp_path_factory.mktemp("named")))


def test_a_key_may_name_what_is_its_own(found: Sequence[Found]) -> None:
    assert [] == [(case, own) for case, own, _ in found if own in (401, 403)]


def test_a_key_may_name_nothing_of_another(found: Sequence[Found]) -> None:
    """What it may only see is not there for it; all else is refused."""
    assert [] == [(case, other) for case, _, other in found if other not in (403, 404)]
    hidden = {case.place for case, _, other in found if other == 404}
    assert all(" /_index_template/" in place or " /_template/" in place or "GET" in place for place in hidden)


def test_every_endpoint_that_takes_a_name_otherwise_is_in_the_table(tmp_path: Path) -> None:
    """A new one belongs into `named.CASES`, or into `named.NAMELESS` where it can name nothing."""

    async def run() -> None:
        async with application(tmp_path, None) as app:
            there = {
                f"{each.method} {each.path}"
                for each in endpoints(app)
                if each.method not in ("GET", "HEAD") and not (each.names_index or each.is_wide)
            }
            assert [] == sorted(there - {case.place for case in CASES} - NAMELESS)
            assert [] == sorted(NAMELESS - there)

    anyio.run(run)


def test_no_list_shows_what_is_of_another(tmp_path: Path) -> None:
    """Names of indexes, aliases, streams, templates and pipelines."""

    async def run() -> None:
        async with application(tmp_path, DOORS) as app, client(app) as asked:
            await named.set_up(asked)
            shown = 0
            for each in endpoints(app):
                if each.method != "GET" or each.names_index or each.is_wide:
                    continue
                path = each.url("fresh-1", "app").replace("/x?", "/*?")
                whole = await asked.get(path, headers=header("whole"))
                mine = await asked.get(path, headers=header("right"))
                assert b"secret-" not in mine.content, path
                shown += b"secret-" in whole.content
            assert shown > 10

    anyio.run(run)


def test_the_page_has_the_table_of_names(found: Sequence[Found]) -> None:
    """After a change: python tests/serve/doors/table.py > docs/security.md (with tests on PYTHONPATH)."""
    text = PAGE.read_text("utf-8")
    assert text == with_table(text, NAMED, named.table(found), NAMED_END)
