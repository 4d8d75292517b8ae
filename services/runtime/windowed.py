"""Work on the items of a stream, several at once, whose results may come in any order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def windowed(items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], *, at_once: int) -> AsyncIterator[R]:
    """What `work` makes of each item, as soon as it is there.

    At most `at_once` items (1 or more) are taken and not answered yet: who does not read the results holds up the
    items. Raises what `items` or `work` raise, once; closing it cancels what is at work and closes `items`.
    """
    room = asyncio.Semaphore(at_once)
    ended: asyncio.Queue[asyncio.Task[R] | asyncio.Task[None]] = asyncio.Queue()  # bounded by `room`
    at_work: set[asyncio.Task[R]] = set()

    async def feed() -> None:
        await room.acquire()  # before an item is taken: one in hand is in the window
        async for item in items:
            task = asyncio.create_task(_answer(work, item))
            at_work.add(task)
            task.add_done_callback(ended.put_nowait)
            await room.acquire()

    feeding = asyncio.create_task(feed())
    feeding.add_done_callback(ended.put_nowait)
    fed = False
    try:
        while at_work or not fed:
            task = await ended.get()
            if task is feeding:
                feeding.result()
                fed = True
                continue
            at_work.discard(task)
            yield task.result()
            room.release()
    finally:
        for task in (feeding, *at_work):
            task.cancel()
        await asyncio.gather(feeding, *at_work, return_exceptions=True)
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _answer(work: Callable[[T], Awaitable[R]], item: T) -> R:
    return await work(item)
