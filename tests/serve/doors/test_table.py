"""Every endpoint, asked with every kind of key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from headrace.serve.doors.scopes import ANY, OPEN, RULES, WIDE, satisfied
from serve.doors.table import EVERYTHING, PAGE, Row, page, rows, too_weak


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Row]:
    return anyio.run(rows, Path(tmp_path_factory.mktemp("table")))


def test_every_endpoint_has_a_scope(found: Sequence[Row]) -> None:
    """A new route belongs into `serve/doors/scopes.py: RULES`; until then it asks for admin."""
    assert [] == [each for each, _ in found if each.scope is None]


def test_nobody_comes_in_without_a_right_key(found: Sequence[Row]) -> None:
    for each, (none, wrong, _, _, right) in found:
        if each.scope == OPEN:
            assert {200} == {none, wrong, right}, each
        else:
            assert (401, 401) == (none, wrong), each
            assert right not in (401, 403), each


def test_a_key_without_the_scope_is_refused(found: Sequence[Row]) -> None:
    for each, (_, _, weak, _, _) in found:
        if each.scope not in (OPEN, ANY):
            assert 403 == weak, each


def test_a_key_for_another_index_is_refused_where_one_is_named(found: Sequence[Row]) -> None:
    assert 40 < sum(each.names_index for each, _ in found)
    for each, (_, _, _, other, _) in found:
        assert (403 == other) == (each.names_index or each.is_wide), each


def test_what_belongs_to_all_indexes_is_something_that_is_served(found: Sequence[Row]) -> None:
    named = {
        (method, path) for methods, paths in WIDE for path in paths.split() for method in methods.split()
    }
    assert named == {(each.method, each.path) for each, _ in found if each.is_wide}


def test_the_page_has_the_table(found: Sequence[Row]) -> None:
    """After a change: python tests/serve/doors/table.py > docs/security.md (with tests on PYTHONPATH)."""
    assert page(found) == PAGE.read_text("utf-8")


def test_the_scopes_of_the_rules_are_scopes() -> None:
    for _, scope, _ in RULES:
        assert scope in (OPEN, ANY) or set(scope.replace("+", "|").split("|")) <= set(EVERYTHING)


@pytest.mark.parametrize("scope", ["read", "read+write", "write|admin", "read|monitor|admin"])
def test_the_most_that_is_too_weak_is_too_weak(scope: str) -> None:
    assert not satisfied(scope, frozenset(too_weak(scope)))
    assert satisfied(scope, frozenset(EVERYTHING))
