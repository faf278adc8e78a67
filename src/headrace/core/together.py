"""Several calls at once, all ended before the caller goes on: the one way a component waits for many answers.

No task outlives the call, so a component that uses it still starts none of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio


async def together(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all to their ends; cancelled, or with one that raises, all are. Bound their number before.

    Raises the first error as it is.
    """

    async def run(call: Callable[[], Awaitable[None]]) -> None:
        await call()

    try:
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(run, call)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def first_of(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all until one comes to its end; the others are cancelled. Raises the first error as it is."""

    async def run(call: Callable[[], Awaitable[None]]) -> None:
        await call()
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(run, call)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
