"""Several pieces of work at once."""

import asyncio

import pytest

from services.runtime.errors import Overloaded
from services.runtime.together import together


async def test_results_come_in_order() -> None:
    async def after(ticks: int) -> int:
        for _ in range(ticks):
            await asyncio.sleep(0)
        return ticks

    assert await together(after(3), after(0), after(1)) == [3, 0, 1]
    assert await together() == []


async def test_the_first_failure_is_raised_as_it_is_and_cancels_the_others() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Overloaded("full")

    with pytest.raises(Overloaded, match="full"):
        await together(waits(), fails())
    assert ended == ["waits"]
