"""Several calls at once end together, and none outlives its caller."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from headrace.core.together import first_of, together

pytestmark = pytest.mark.anyio


async def test_all_run_at_once_and_all_have_ended() -> None:
    met = [anyio.Event(), anyio.Event()]
    ended: list[int] = []

    async def meet(me: int) -> None:
        met[me].set()
        await met[1 - me].wait()
        ended.append(me)

    with anyio.fail_after(2):
        await together([lambda: meet(0), lambda: meet(1)])
    assert [0, 1] == sorted(ended)


async def test_cancelled_none_goes_on() -> None:
    cancelled: list[int] = []

    async def wait(me: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(me)

    with anyio.move_on_after(0.01):
        await together([lambda: wait(0), lambda: wait(1)])
    assert [0, 1] == sorted(cancelled)


async def test_an_error_of_one_comes_out_as_it_is_and_ends_the_others() -> None:
    ended: list[bool] = []

    async def fail() -> None:
        raise KeyError("one")

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    with pytest.raises(KeyError, match="one"):
        await together([wait, fail])
    assert [True] == ended


async def test_nothing_is_done_at_once() -> None:
    await together([])


async def test_the_first_that_ends_ends_the_others() -> None:
    cancelled: list[str] = []

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            cancelled.append("waited")
            raise

    with anyio.fail_after(2):
        await first_of([wait, anyio.lowlevel.checkpoint])
    assert ["waited"] == cancelled


async def test_an_error_of_the_first_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with anyio.fail_after(2), pytest.raises(ValueError, match="mine"):
        await first_of([anyio.sleep_forever, fail])
