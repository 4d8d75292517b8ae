"""The layers in front of a scripted one."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from chiasm.v1 import generation_pb2
from services.gateway.admission.answers import AdmittedAnswers, HeldBytes
from services.gateway.answerer import UNNAMED, Answerer, Ask, Events, Weight
from services.gateway.clock import Clock
from services.gateway.policy import Policy, TenantPolicy
from services.runtime.errors import Overloaded, Unavailable
from tests.client.scripted import delta, finished, started
from tests.gateway.admission.virtual_time import run

EVENTS = (started(), delta("two "), delta("circles"), finished())


class Inner:
    """Answers in `seconds`, or with `error` after the first event."""

    def __init__(self, seconds: float = 0.0, *, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.began: list[str] = []
        self.closed = 0

    async def events(self, ask: Ask) -> Events:
        self.began.append(ask.account.name)
        try:
            for event in EVENTS[:-1]:
                yield event
                if self.error is not None:
                    raise self.error
            await asyncio.sleep(self.seconds)
            yield EVENTS[-1]
        finally:
            self.closed += 1


def ask(
    account: TenantPolicy = UNNAMED,
    *,
    timeout_s: float = 60.0,
    priority: generation_pb2.Priority = generation_pb2.PRIORITY_NORMAL,
    model: str = "",
) -> Ask:
    request = generation_pb2.GenerateRequest(model=model, routing=generation_pb2.Routing(priority=priority))
    deadline = asyncio.get_running_loop().time() + timeout_s
    return Ask(request, "t", deadline, Clock(), Weight(10, 10), account)


def policy(**admission: int) -> Callable[[], Policy]:
    whole = Policy.model_validate({"admission": admission})
    return lambda: whole


async def whole(answers: Answerer, asked: Ask) -> list[generation_pb2.StreamGenerateResponse]:
    return [event async for event in answers.events(asked)]


async def test_the_events_pass_and_the_place_is_given_back() -> None:
    answers = AdmittedAnswers(Inner(), policy())
    async with aclosing(answers.events(ask())) as events:
        assert await anext(events) == EVENTS[0]
        assert (answers.gate.in_flight, answers.gate.pixels) == (1, 10)
        assert [event async for event in events] == list(EVENTS[1:])
    assert (answers.gate.in_flight, answers.gate.pixels) == (0, 0)


async def test_an_error_gives_the_place_back() -> None:
    answers = AdmittedAnswers(Inner(error=Unavailable("broke")), policy())
    with pytest.raises(Unavailable):
        await whole(answers, ask())
    assert (answers.gate.in_flight, answers.gate.pixels) == (0, 0)


async def test_closing_early_gives_the_place_back_and_ends_the_work() -> None:
    inner = Inner(seconds=1_000)
    answers = AdmittedAnswers(inner, policy(max_calls=1))
    async with aclosing(answers.events(ask())) as events:
        await anext(events)
    assert inner.closed == 1
    inner.seconds = 0
    assert len(await whole(answers, ask())) == len(EVENTS)


def test_a_priority_is_no_higher_than_the_accounts() -> None:
    async def main() -> None:
        inner = Inner(seconds=1)
        answers = AdmittedAnswers(inner, policy(max_calls=1))
        people, batch = TenantPolicy(name="people"), TenantPolicy(name="batch", max_priority="low")
        high = generation_pb2.PRIORITY_HIGH
        async with asyncio.TaskGroup() as group:
            for account in (people, batch, people, people):
                group.create_task(whole(answers, ask(account, priority=high)))
        assert inner.began == ["people", "people", "people", "batch"]

    run(main())


def test_who_acts_for_a_tenant_has_the_weight_of_its_own_account() -> None:
    async def main() -> None:
        inner = Inner(seconds=1)
        answers = AdmittedAnswers(inner, policy(max_calls=1))
        light, heavy = TenantPolicy(name="light"), TenantPolicy(name="heavy", weight=3)
        async with asyncio.TaskGroup() as group:
            for account in (light, *4 * [light], *4 * [heavy]):
                group.create_task(whole(answers, ask(account)))
        assert inner.began[1:6].count("heavy") >= 3

    run(main())


def test_a_slow_model_says_nothing_of_another() -> None:
    async def main() -> None:
        inner = Inner(seconds=5)
        answers = AdmittedAnswers(inner, policy(max_calls=2))
        await whole(answers, ask(model="models/slow"))
        async with asyncio.TaskGroup() as group:
            group.create_task(whole(answers, ask(model="models/slow")))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await whole(answers, ask(model="models/slow", timeout_s=4))
            inner.seconds = 1
            await whole(answers, ask(model="models/fast", timeout_s=4))

    run(main())


async def test_bytes_are_held_from_the_first_to_the_last_event() -> None:
    answers = HeldBytes(Inner(), policy())
    async with aclosing(answers.events(ask())) as events:
        await anext(events)
        assert answers.room.bytes == 10
    assert answers.room.bytes == 0


async def test_what_there_is_no_room_for_is_refused_at_the_door() -> None:
    inner = Inner()
    answers = HeldBytes(inner, policy(max_bytes=15))
    async with aclosing(answers.events(ask())) as events:
        await anext(events)
        with pytest.raises(Overloaded):
            await whole(answers, ask())
    assert len(inner.began) == 1
