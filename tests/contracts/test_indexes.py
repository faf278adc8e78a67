"""Every index keeps the contract of indexes: `tantivy` with and without declared ids, and the faulty one."""

# ruff: noqa: RUF012  what a contract is told stands in the class, and nobody changes it

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core.clock import SystemClock
from headrace.index import tantivy
from headrace.index.base import Index, IndexContext
from headrace.model import Batch, Rejection
from headrace.testing import FaultyIndex, IndexContract
from headrace.units import decode


class TestTantivy(IndexContract):
    kind = tantivy
    bad = {"n": 1, "s": "not in a strict mapping"}
    options: dict[str, Any] = {"dynamic": "strict"}

    def index(self, folder: Path) -> Index:
        given = {"memory": "32MB", "fields": {"n": "integer"}, **self.options}
        settings = msgspec.convert(given, tantivy.Settings, dec_hook=decode)
        made: Index = tantivy.create(settings, IndexContext("i", folder / "i", SystemClock()))
        return made

    def stored(self, folder: Path) -> Sequence[int]:
        with closing(tantivy.open_reader(folder / "i")) as reader:
            return [
                msgspec.json.decode(source)["n"]
                for frame in reader.scan(None, 100)
                for source in frame["_source"]
            ]


class TestFaultyIndex(IndexContract):
    bad = {"n": 1, "s": "refused as told"}

    def index(self, folder: Path) -> Index:
        self.made: FaultyIndex = getattr(self, "made", None) or FaultyIndex(reject="s")
        return self.made

    def stored(self, folder: Path) -> Sequence[int]:
        return [int(str(row["n"])) for row in self.made.rows]


class Doubling(FaultyIndex):
    """Writes again what is committed."""

    async def write(self, batch: Batch) -> list[Rejection]:
        self._committed.positions.clear()
        return await super().write(batch)


class Hasty(FaultyIndex):
    """Commits at every write, before it is told to."""

    async def write(self, batch: Batch) -> list[Rejection]:
        rejected = await super().write(batch)
        await self.commit()
        return rejected


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Doubling, "test_read_again_after_that_everything_is_there_once"),
        (Hasty, "test_ended_between_write_and_commit_the_last_commit_stands"),
    ],
)
def test_the_contract_finds_an_index_that_doubles_or_commits_too_soon(
    tmp_path: Path, broken: type[FaultyIndex], law: str
) -> None:
    class Broken(TestFaultyIndex):
        def index(self, folder: Path) -> Index:
            self.made = getattr(self, "made", None) or broken()
            return self.made

    Broken().test_closing_is_safe_without_opening_and_twice(tmp_path)
    with pytest.raises(AssertionError):
        getattr(Broken(), law)(tmp_path)
