"""One flight for equal questions in a process."""

import asyncio
from contextlib import aclosing

import pytest

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask, Events
from services.gateway.flights import local
from services.gateway.flights.local import Flights, fly_alone
from services.runtime.errors import Aborted, ChiasmError, DeadlineExceeded, Overloaded, Unavailable
from tests.client.scripted import delta, finished, started, superseded
from tests.gateway.flights.answering import Answering, ask, check, whole


class Source:
    def __init__(self, inner: Answering) -> None:
        self._inner = inner

    async def stored(self) -> None:
        return None

    def fresh(self, ask: Ask) -> Events:
        return self._inner.events(ask)


async def next_text(events: Events) -> str:
    """Of the next delta."""
    async for event in events:
        if event.HasField("delta"):
            return event.delta.text
    raise AssertionError("no delta came")


async def test_many_callers_ask_once_and_each_is_answered_under_its_own_name() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    inner.go.set()
    asks = [ask() for _ in range(200)]
    answers = await asyncio.gather(*(whole(flights.events("k", a, Source(inner))) for a in asks))
    assert len(inner.asks) == 1
    assert {answer.text for answer in answers} == {"two circles"}
    assert [answer.request_id for answer in answers] == [a.request.request_id for a in asks]
    assert sum(answer.finished.usage.cost_nanousd for answer in answers) == 1250
    statuses = sorted(answer.finished.route.attempts[0].status for answer in answers)
    assert statuses == ["JOINED"] * 199 + ["OK"]


async def test_who_comes_late_gets_everything_from_the_start() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    async with aclosing(flights.events("k", ask(), Source(inner))) as first:
        assert await next_text(first) == "two "
        late = flights.events("k", ask(), Source(inner))
        assert await next_text(late) == "two "
        inner.go.set()
        assert await next_text(late) == "circles"
        assert await next_text(first) == "circles"
        await late.aclose()
    assert len(inner.asks) == 1


async def test_the_flight_ends_when_the_last_leaves_and_not_before() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    first, second = (flights.events("k", ask(), Source(inner)) for _ in range(2))
    await next_text(first)
    await next_text(second)
    await first.aclose()
    assert inner.running == 1
    await second.aclose()
    async with asyncio.timeout(5):
        await inner.idle.wait()
    inner.go.set()
    assert (await whole(flights.events("k", ask(), Source(inner)))).text == "two circles"
    assert len(inner.asks) == 2


async def test_whoever_joins_does_not_join_another_question() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    inner.go.set()
    await asyncio.gather(*(whole(flights.events(key, ask(), Source(inner))) for key in ("a", "b", "a")))
    assert len(inner.asks) == 2


async def test_a_failure_reaches_all() -> None:
    async def fails(ask: Ask) -> Events:
        yield started()
        yield delta("two ")
        await inner.go.wait()
        raise Unavailable("the model server went away")

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = fails
    calls = [asyncio.create_task(whole(flights.events("k", ask(), Source(inner)))) for _ in range(5)]
    await inner.began.wait()
    inner.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    assert len(inner.asks) == 1


async def test_who_has_longer_than_the_question_was_given_asks_again() -> None:
    async def slow_for_the_first(ask: Ask) -> Events:
        yield started()
        yield delta("tw")
        if len(inner.asks) == 1:
            await asyncio.Event().wait()
        yield delta("o")
        yield finished()

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = slow_for_the_first
    hasty = asyncio.create_task(whole(flights.events("k", ask(timeout_s=0.2), Source(inner))))
    await inner.began.wait()
    told = [event async for event in flights.events("k", ask(timeout_s=20), Source(inner))]
    check(told)
    kinds = [event.WhichOneof("event") for event in told]
    assert kinds == ["started", "delta", "superseded", "started", "delta", "delta", "finished"]
    assert told[2].superseded.reason == generation_pb2.SUPERSEDED_REASON_SLOW
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert len(inner.asks) == 2


@pytest.mark.parametrize("error", [Overloaded("no turn in time"), Unavailable("none ready in time")], ids=str)
async def test_who_has_longer_than_the_question_that_was_refused_asks_again(error: ChiasmError) -> None:
    async def refuses_the_hasty(ask: Ask) -> Events:
        if len(inner.asks) == 1:
            await inner.go.wait()
            raise error
        async for event in inner.two_circles(ask):
            yield event

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = refuses_the_hasty
    hasty = asyncio.create_task(whole(flights.events("k", ask(timeout_s=5), Source(inner))))
    await inner.began.wait()
    like_it, patient = (
        asyncio.create_task(whole(flights.events("k", ask(timeout_s=timeout_s), Source(inner))))
        for timeout_s in (5, 20)
    )
    await settled()
    inner.go.set()
    assert (await patient).text == "two circles"
    for call in (hasty, like_it):
        with pytest.raises(type(error)):
            await call
    assert len(inner.asks) == 2


async def test_a_flight_that_ends_without_an_answer_is_broken_off() -> None:
    async def lands(flight: local.Flight) -> None:
        await flight.log.append(started())

    async with asyncio.timeout(5):
        with pytest.raises(Aborted):
            await whole(Flights(lands).events("k", ask(), Source(Answering())))


async def test_an_attempt_that_said_nothing_leaves_no_trace() -> None:
    async def falls_back(ask: Ask) -> Events:
        for event in (started(), superseded("models/other"), started("models/other", 2), delta("two"), finished()):
            yield event

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = falls_back
    told = [event async for event in flights.events("k", ask(), Source(inner))]
    assert [event.WhichOneof("event") for event in told] == ["started", "delta", "finished"]
    assert told[0].started.attempt == 2


async def test_what_was_superseded_before_another_joined_is_told_to_it_too() -> None:
    async def falls_back(ask: Ask) -> Events:
        for event in (started(), delta("one"), superseded("models/other"), started("models/other", 2), delta("two")):
            yield event
        await inner.go.wait()
        yield finished()

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = falls_back
    first = flights.events("k", ask(), Source(inner))
    await next_text(first)
    second = asyncio.create_task(whole(flights.events("k", ask(), Source(inner))))
    inner.go.set()
    assert (await second).text == "two"
    await first.aclose()


async def test_a_long_answer_is_bounded_and_admits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_LOG_BYTES", 1_000)
    said = 0

    async def long(ask: Ask) -> Events:
        nonlocal said
        yield started()
        for _ in range(100):
            said += 1
            yield delta("x" * 100)
        yield finished()

    inner, flights = Answering(), Flights(fly_alone)
    inner.script = long
    first = flights.events("k", ask(), Source(inner))
    await next_text(first)
    await settled()
    assert said < 25  # a reader that does not read on holds it up
    second = asyncio.create_task(whole(flights.events("k", ask(), Source(inner))))
    assert len((await second).text) == 10_000
    assert len(inner.asks) == 2  # everything from the start was no longer there
    rest = [event async for event in first]
    assert sum(len(event.delta.text) for event in rest) == 9_900


async def test_closing_ends_what_is_in_flight() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    call = asyncio.create_task(whole(flights.events("k", ask(), Source(inner))))
    await inner.began.wait()
    await flights.close()
    assert inner.running == 0
    with pytest.raises(Unavailable, match="shutting down"):
        await call


async def test_nobody_asks_again_while_it_closes() -> None:
    inner, flights = Answering(), Flights(fly_alone)
    calls = [asyncio.create_task(whole(flights.events("k", ask(timeout_s=5), Source(inner))))]
    await inner.began.wait()
    calls.append(asyncio.create_task(whole(flights.events("k", ask(timeout_s=20), Source(inner)))))
    await settled()
    await flights.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert len(inner.asks) == 1


async def settled() -> None:
    """Everything that can go on has."""
    for _ in range(100):
        await asyncio.sleep(0)
