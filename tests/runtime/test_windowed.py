"""Work on a stream's items, several at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.windowed import windowed


async def counted(most: int, taken: list[int]) -> AsyncIterator[int]:
    for number in range(most):
        taken.append(number)
        yield number


@given(st.integers(0, 30), st.integers(1, 8), st.randoms(use_true_random=False))
def test_each_item_is_answered_once(items: int, at_once: int, random) -> None:
    async def work(number: int) -> int:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        return number

    async def all_of_it() -> list[int]:
        return [result async for result in windowed(counted(items, []), work, at_once=at_once)]

    assert sorted(asyncio.run(all_of_it())) == list(range(items))


async def test_results_come_as_they_are_there() -> None:
    first = asyncio.Event()

    async def work(number: int) -> int:
        if number == 0:
            await first.wait()
        return number

    async with aclosing(windowed(counted(3, []), work, at_once=2)) as results:
        assert [await anext(results), await anext(results)] == [1, 2]
        first.set()
        assert await anext(results) == 0


async def test_no_more_are_taken_than_the_window_holds() -> None:
    taken: list[int] = []

    async def work(number: int) -> int:
        return number

    async with aclosing(windowed(counted(100, taken), work, at_once=4)) as results:
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(taken) == 4  # the one that is read counts until the next is asked for
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(taken) == 5


async def test_what_work_raises_ends_it_and_cancels_the_rest() -> None:
    cancelled = []

    async def work(number: int) -> int:
        if number == 2:
            raise ValueError(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    with pytest.raises(ValueError, match="2"):
        async for _ in windowed(counted(10, []), work, at_once=3):
            pass
    assert sorted(cancelled) == [0, 1]


@pytest.mark.parametrize("ticks", range(6))
async def test_what_the_items_raise_is_raised_however_slow_the_reader(ticks: int) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        for _ in range(ticks):
            await asyncio.sleep(0)
        raise OSError("gone")

    async def work(number: int) -> int:
        return number

    async def read() -> None:
        async for _ in windowed(broken(), work, at_once=2):
            for _ in range(10):
                await asyncio.sleep(0)

    with pytest.raises(OSError, match="gone"):
        await read()


async def test_closing_it_cancels_what_is_at_work() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work(number: int) -> int:
        if number == 0:
            return 0
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    items = counted(5, [])
    async with aclosing(windowed(items, work, at_once=2)) as results:
        await anext(results)
        await begun.wait()
    assert cancelled.is_set()
    with pytest.raises(StopAsyncIteration):  # it is closed, too
        await anext(items)
