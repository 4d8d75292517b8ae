"""Waiting rooms over real books, and calls that wait in them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.gemini_proxy.accounts.books import Booking, Claim, Lease, Limits, Refusal, Settlement
from services.gemini_proxy.accounts.redis_books import RedisBooks
from services.gemini_proxy.question import Priority
from services.gemini_proxy.waiting import WaitingRoom
from tests.gemini_proxy.accounts.samples import claim, settlement
from tests.runtime.conftest import until

LONG_S = 60.0
"""More than any test takes."""
ONE_AT_ONCE = Limits(concurrency=1)


@asynccontextmanager
async def waiting_room(books: RedisBooks, *, max_waiting: int = 100) -> AsyncIterator[WaitingRoom]:
    room = WaitingRoom(books, max_waiting=max_waiting)
    async with room.open():
        yield room


async def a_life(books: RedisBooks) -> tuple[WaitingRoom, asyncio.Task[None]]:
    """A room that is open until the task ends."""
    room, opened = WaitingRoom(books, max_waiting=100), asyncio.Event()

    async def live() -> None:
        async with room.open():
            opened.set()
            await asyncio.Event().wait()

    life = asyncio.create_task(live())
    await opened.wait()
    return room, life


async def joins(
    room: WaitingRoom,
    wanted: Claim,
    priority: Priority = Priority.NORMAL,
    *,
    timeout_s: float = LONG_S,
    waiting: int | None = None,
) -> asyncio.Task[Lease]:
    """A call that waits in the room, of `waiting` then, one more where not said."""
    waiting = room.waiting + 1 if waiting is None else waiting
    task = asyncio.create_task(room.lease(wanted, priority, timeout_s=timeout_s))
    await until(lambda: task.done() or room.waiting == waiting)
    if task.done():
        await task  # tell why
    assert not task.done()
    return task


async def served_in_order(books: RedisBooks, holder: str, tasks: Sequence[asyncio.Task[Lease]]) -> list[str]:
    """Gives the one slot back, time after time, and notes who gets it."""
    order, left = [], set(tasks)
    while left:
        await books.settle(settlement(holder))
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        (lease,) = [task.result() for task in done]
        holder = lease.attempt_id
        order.append(holder)
    return order


async def nothing_is_held(books: RedisBooks) -> bool:
    """Whether the one slot is free."""
    probe = claim()
    free = isinstance(await books.reserve(probe), Lease)
    if free:
        await books.settle(settlement(probe.attempt_id, sent=False))
    return free


async def empty(room: WaitingRoom) -> None:
    """Cancels every call that waits, as this test's tasks are."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if task.get_coro().__name__ == "lease":
            task.cancel()
    await until(lambda: room.waiting == 0)


class GatedBooks(RedisBooks):
    """What was reserved is told only once the gate is open."""

    def __init__(self, *args, **others) -> None:
        super().__init__(*args, **others)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.given_back = asyncio.Event()

    async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
        answer = await super().reserve(claim, ahead=ahead)
        if not ahead:
            self.asked.set()
            await self.gate.wait()
        return answer

    async def settle(self, settlement: Settlement) -> Booking:
        booking = await super().settle(settlement)
        self.given_back.set()
        return booking
