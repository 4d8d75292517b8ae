import asyncio
import random
from collections.abc import Sequence

import pytest
import redis.asyncio

from chiasm.v1 import errors_pb2
from services.gemini_proxy.accounts.books import Claim, Lease, Limits, Refusal
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.question import Priority
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.errors import Overloaded, QuotaExhausted, Unavailable
from tests.gemini_proxy.accounts.samples import claim, settings, settlement
from tests.gemini_proxy.rooms import (
    LONG_S,
    ONE_AT_ONCE,
    GatedBooks,
    a_life,
    joins,
    nothing_is_held,
    waiting_room,
)
from tests.valkey import valkey_server


async def test_a_caller_that_leaves_while_the_books_are_asked_holds_nothing(client: redis.asyncio.Redis) -> None:
    books = GatedBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        books.gate.clear()
        task = asyncio.create_task(room.lease(claim(), Priority.NORMAL, timeout_s=LONG_S))
        await books.asked.wait()
        task.cancel()
        books.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await nothing_is_held(books)


@pytest.mark.parametrize("ticks", range(8))
async def test_a_caller_that_leaves_when_its_turn_comes_holds_nothing(client: redis.asyncio.Redis, ticks: int) -> None:
    books = GatedBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        task = await joins(room, claim("leaver"))
        await books.settle(settlement(lease.attempt_id))
        books.gate.clear()
        books.asked.clear()
        await books.asked.wait()  # it is asked for again, and got: nobody else was there
        books.given_back.clear()
        books.gate.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
            await books.settle(settlement("leaver"))
        except asyncio.CancelledError:
            await books.given_back.wait()
        assert room.waiting == 0
        assert await nothing_is_held(books)


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_leaves_whenever_nothing_stays_held(client: redis.asyncio.Redis, seed: int) -> None:
    chance = random.Random(seed)
    books = RedisBooks(client, settings(Limits(concurrency=3)))
    held: set[str] = set()

    async def call(room: WaitingRoom, wanted: Claim, patience_s: float) -> None:
        async with asyncio.timeout(patience_s):
            await room.lease(wanted, chance.choice(list(Priority)), timeout_s=chance.choice([0.05, 0.5, LONG_S]))
            held.add(wanted.attempt_id)
            assert len(held) <= 3
            held.discard(wanted.attempt_id)
            await asyncio.shield(books.settle(settlement(wanted.attempt_id)))

    async with waiting_room(books) as room:
        calls = [
            call(room, claim(tenant=chance.choice("abc")), chance.choice([0.01, 0.1, 1.0, LONG_S])) for _ in range(60)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), TimeoutError, QuotaExhausted, Overloaded}
        assert outcomes.count(None) > 10
        assert room.waiting == 0
    assert {type(await books.reserve(claim())) for _ in range(3)} == {Lease}


async def test_a_room_that_closes_tells_those_who_wait(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        waiting = [await joins(room, claim()) for _ in range(2)]
    for task in waiting:
        with pytest.raises(Unavailable) as caught:
            await task
        assert caught.value.reason == errors_pb2.ERROR_REASON_SHUTTING_DOWN
    with pytest.raises(Unavailable):
        await room.lease(claim(), Priority.NORMAL, timeout_s=LONG_S)
    assert room.waiting == 0
    await books.settle(settlement(lease.attempt_id))
    assert await nothing_is_held(books)


async def test_a_room_that_is_cut_gives_back_what_it_was_about_to_give(client: redis.asyncio.Redis) -> None:
    books = GatedBooks(client, settings(ONE_AT_ONCE))
    room, life = await a_life(books)
    lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
    task = await joins(room, claim())
    await books.settle(settlement(lease.attempt_id))
    books.gate.clear()
    books.asked.clear()
    await books.asked.wait()
    life.cancel()
    with pytest.raises(Unavailable):
        await task
    books.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await life
    assert await nothing_is_held(books)


async def test_a_fault_of_the_books_fails_the_room_and_nobody_hangs(client: redis.asyncio.Redis) -> None:
    class FaultyBooks(RedisBooks):
        faulty = False

        async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
            if self.faulty:
                raise RuntimeError("a fault")
            return await super().reserve(claim, ahead=ahead)

    books = FaultyBooks(client, settings(ONE_AT_ONCE))
    room, life = await a_life(books)
    await room.lease(claim(), Priority.NORMAL, timeout_s=0)
    task = await joins(room, claim())
    books.faulty = True
    with pytest.raises(ExceptionGroup) as caught:
        await life
    assert caught.group_contains(RuntimeError, match="a fault")
    with pytest.raises(Unavailable):
        await task


async def test_books_that_go_away_are_told_of_and_the_room_lives_on() -> None:
    with valkey_server(save="") as server:
        client = connect(server.connection_url, timeout_s=5)
        books = GatedBooks(client, settings(ONE_AT_ONCE))
        async with waiting_room(books) as room:
            lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
            waiting = await joins(room, claim())
            await books.settle(settlement(lease.attempt_id))
            books.gate.clear()
            books.asked.clear()
            await books.asked.wait()
            behind = await joins(room, claim())
            await client.shutdown(nosave=True)
            waiting.cancel()  # its lease cannot be given back
            with pytest.raises(asyncio.CancelledError):
                await waiting
            books.gate.set()
            with pytest.raises(BooksUnavailable):
                await behind
            with pytest.raises(BooksUnavailable):
                await room.lease(claim(), Priority.NORMAL, timeout_s=LONG_S)
            assert room.waiting == 0
        await client.aclose()
