"""Headrace for asyncio: the names of `headrace`, as coroutines; work runs beside the event loop.

>>> async with await headrace.aio.open("logs") as index:
...     result = await index.search("payment timeout")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio.to_thread import run_sync

from headrace import api
from headrace.api import Summary
from headrace.result import Result

if TYPE_CHECKING:
    from headrace.model import Json

__all__ = ["Index", "Result", "Summary", "index", "open", "run"]


async def index(
    records: object,
    *,
    into: str | Path,
    id: str | Sequence[str] | None = None,  # noqa: A002
    name: str | None = None,
    fields: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> Index:
    """See `headrace.index`."""
    work = partial(api.index, records, into=into, id=id, name=name, fields=fields, options=options)
    return Index(await run_sync(work))


async def open(where: str | Path, *, name: str | None = None, key: str | None = None) -> Index:  # noqa: A001
    """See `headrace.open`."""
    return Index(await run_sync(partial(api.open, where, name=name, key=key)))


async def run(config: str | Path, *, role: str = "ingester", once: bool = False) -> None:
    """See `headrace.run`. In the main thread, since signals stop it; a cancellation stops it at once."""
    from headrace.settings import load

    settings = await run_sync(load, config)
    if role == "server":
        from headrace.services.server import run_server

        await run_server(settings)
        return
    from headrace.services.ingester import run_ingester

    await run_ingester(settings, until_finished=once)


class Index:
    """See `headrace.Index`."""

    def __init__(self, opened: api.Index) -> None:
        self._opened = opened

    @property
    def summary(self) -> Summary | None:
        return self._opened.summary

    async def search(
        self, query: str | Mapping[str, Json] | None = None, *, size: int = 10, sort: str | Sequence[str] = ()
    ) -> Result:
        return await run_sync(partial(self._opened.search, query, size=size, sort=sort))

    async def answer(self, body: Mapping[str, Json]) -> Mapping[str, Any]:
        return await run_sync(self._opened.answer, body)

    async def count(self, query: str | None = None) -> int:
        return await run_sync(self._opened.count, query)

    async def get(self, id: str) -> Json:  # noqa: A002
        return await run_sync(self._opened.get, id)

    async def close(self) -> None:
        await run_sync(self._opened.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
