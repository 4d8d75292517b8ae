"""Escalations: second opinions where an answer is not sure enough."""

import asyncio

import pytest

from services.gateway.policy import CascadePolicy, Policy
from services.runtime.errors import ChiasmError, InvalidArgument, Unavailable
from tests.gateway.attempts.scene import (
    Scene,
    Script,
    answering,
    delta,
    finished,
    never,
    question,
    read,
    saying,
    started,
    statuses,
)

SMALL = answering("one", confidence=0.2, cost=10)
LARGE = answering("two", confidence=0.9, cost=90)
SMALL_ALONE = ["started 1 models/small", "one", "finished STOP"]


def scene_of(**cascade: float) -> Scene:
    return Scene(Policy(cascade=CascadePolicy(**cascade)), least_confidence=0.4)


async def test_an_unsure_answer_is_superseded() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    scene.candidate("large", LARGE)
    events = await scene.told()
    assert read(events) == [
        "started 1 models/small",
        "one",
        "superseded 1 UNSURE models/large",
        "started 2 models/large",
        "two",
        "finished STOP",
    ]
    last = events[-1].finished
    assert (last.usage.cost_nanousd, last.confidence) == (100, pytest.approx(0.45))
    assert statuses(events) == [("models/small", "OK"), ("models/large", "OK")]


async def test_a_sure_answer_stands() -> None:
    scene = scene_of()
    scene.candidate("small", LARGE)
    large = scene.candidate("large", LARGE)
    assert statuses(await scene.told()) == [("models/small", "OK")]
    assert large.asked == []


async def test_a_replica_is_no_second_opinion() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    replica = scene.candidate("small", LARGE, address="small:2")
    assert read(await scene.told()) == SMALL_ALONE
    assert replica.asked == []


@pytest.mark.parametrize("error", [Unavailable("away"), InvalidArgument("bad", field="f")])
async def test_where_the_second_says_nothing_the_first_stands(error: ChiasmError) -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    scene.candidate("large", saying(started(), error))
    events = await scene.told()
    assert read(events) == SMALL_ALONE
    assert statuses(events) == [("models/large", error.code.name), ("models/small", "OK")]


async def test_where_the_second_breaks_off_the_first_is_told_again() -> None:
    scene = scene_of()
    scene.candidate("small", answering("on", "e", confidence=0.2))
    scene.candidate("large", saying(started(), delta("tw"), Unavailable("away")))
    events = await scene.told()
    assert read(events) == [
        "started 1 models/small",
        "on",
        "e",
        "superseded 1 UNSURE models/large",
        "started 2 models/large",
        "tw",
        "superseded 2 BROKEN models/small",
        "started 3 models/small",
        "one",
        "finished STOP",
    ]
    assert len(events[-2].delta.tokens) == 2


async def test_where_the_second_is_as_unsure_it_stands() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    scene.candidate("large", answering("two", confidence=0.3))
    assert read(await scene.told())[-2:] == ["two", "finished STOP"]


async def test_a_second_that_hangs_does_not_lose_the_first() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    scene.candidate("large", saying(started(), never()))
    events = await scene.told(timeout_s=2)
    assert read(events) == SMALL_ALONE
    assert events[-1].finished.route.duration.ToNanoseconds() < 2e9


async def test_the_budget_bounds_escalations() -> None:
    scene = scene_of(escalation_share=0.25, escalation_burst=1)
    scene.candidate("small", SMALL)
    large = scene.candidate("large", LARGE)
    layer = scene.layer()
    for _ in range(40):
        assert read([event async for event in layer.events(question())])[-1] == "finished STOP"
    assert len(large.asked) == 10


async def test_a_share_of_nothing_is_none() -> None:
    scene = scene_of(escalation_share=0)
    scene.candidate("small", SMALL)
    large = scene.candidate("large", LARGE)
    assert read(await scene.told()) == SMALL_ALONE
    assert large.asked == []


async def test_what_is_too_dear_is_not_asked() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    large = scene.candidate("large", LARGE, cost=90)
    assert read(await scene.told(max_cost_nanousd=99)) == SMALL_ALONE
    assert large.asked == []
    assert len(await scene.told(max_cost_nanousd=100)) == 6


async def test_what_could_not_make_the_deadline_is_not_asked() -> None:
    scene = scene_of()
    scene.candidate("small", SMALL)
    large = scene.candidate("large", LARGE)
    scene.candidates[1].expected_s = 10
    assert read(await scene.told(timeout_s=5)) == SMALL_ALONE
    assert large.asked == []


async def test_the_second_may_be_preferred_for_an_answer_that_is_empty() -> None:
    scene = scene_of()
    scene.candidate("small", saying(started(), finished()))
    scene.candidate("large", answering("two", confidence=0.1))
    assert read(await scene.told()) == ["started 1 models/large", "two", "finished STOP"]


@pytest.mark.parametrize(
    ("share", "second", "unsure"),
    [
        (1, LARGE, False),
        (1, answering("two", confidence=0.3), True),
        (1, saying(started(), Unavailable("away")), True),
        (0, LARGE, True),
    ],
    ids=["sure", "as unsure", "away", "no budget"],
)
async def test_who_asked_learns_whether_the_answer_was_settled_for(share: float, second: Script, unsure: bool) -> None:
    scene = scene_of(escalation_share=share)
    scene.candidate("small", SMALL)
    scene.candidate("large", second)
    ask = question()
    assert [event async for event in scene.layer().events(ask)]
    assert ask.standing.unsure is unsure


async def test_what_was_said_is_told_before_it_is_judged_and_judging_ends_with_its_caller() -> None:
    scene = scene_of()
    scene.may_judge = never()
    small = scene.candidate("small", SMALL)
    large = scene.candidate("large", LARGE)
    told: list[str] = []

    async def call() -> None:
        async for event in scene.layer().events(question()):
            told.extend(read([event]))

    calling = asyncio.create_task(call())
    await asyncio.wait_for(scene.judging.wait(), 5)
    assert told == ["started 1 models/small", "one"]
    assert (small.at_work, small.closed) == (0, 1)
    calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled()
    assert not scene.judging.is_set()
    assert large.asked == []
