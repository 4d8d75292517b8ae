"""A second copy of a slow unary call."""

import asyncio

import pytest

from chiasm.v1 import generation_pb2 as generation
from services.gateway.answerer import Answerer
from services.gateway.attempts.means import Means
from services.gateway.policy import FallbackPolicy, HedgePolicy, Policy
from services.runtime.errors import InvalidArgument, Unavailable
from tests.gateway.attempts.scene import (
    Scene,
    Script,
    ScriptedTarget,
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


def scene_of(share: float = 1.0, **fallback: object) -> Scene:
    return Scene(Policy(hedging=HedgePolicy(share=share), fallback=FallbackPolicy(**fallback)))


def used_to(means: Means, scene: Scene, seconds: float) -> Answerer:
    """The layer, whose first candidate's answers have taken so long."""
    for _ in range(50):
        means.times(scene.candidates[0]).add(seconds)
    return scene.layer(means)


def slow_one() -> Script:
    return saying(started(), delta("on"), never())


def two(scene: Scene, first: Script, second: Script) -> tuple[ScriptedTarget, ScriptedTarget]:
    return scene.candidate("a", first), scene.candidate("b", second)


async def told(layer: Answerer) -> list:
    return [event async for event in layer.events(question(whole=True))]


async def test_the_first_whole_answer_wins_and_the_other_is_cancelled() -> None:
    scene = scene_of()
    slow, _ = two(scene, slow_one(), answering("tw", "o"))
    events = await told(used_to(scene.means(), scene, 0.05))
    assert read(events) == ["started 1 models/b", "two", "finished STOP"]
    assert statuses(events) == [("models/a", "CANCELLED"), ("models/b", "OK")]
    assert (slow.closed, slow.at_work) == (1, 0)


async def test_a_call_that_is_not_slow_is_not_hedged() -> None:
    scene = scene_of()
    _, other = two(scene, answering("one"), answering("two"))
    events = await told(used_to(scene.means(), scene, 2.0))
    assert statuses(events) == [("models/a", "OK")]
    assert other.asked == []


async def test_nothing_is_hedged_before_times_are_known() -> None:
    scene = scene_of(slow_share=0.02)
    two(scene, slow_one(), answering("two"))
    events = await told(scene.layer())
    assert statuses(events) == [("models/a", "DEADLINE_EXCEEDED"), ("models/b", "OK")]


async def test_hedges_keep_to_their_share() -> None:
    scene = scene_of(share=0.25, slow_share=0.05)
    slow, _ = two(scene, slow_one(), answering("two"))
    layer = used_to(scene.means(), scene, 0.001)
    hedged = 0
    for _ in range(4):
        slow.circuit = type(slow.circuit)("a", lambda: scene.policy.circuit)
        hedged += ("models/a", "CANCELLED") in statuses(await told(layer))
    assert hedged == 1


async def test_a_hedge_counts_against_the_cap() -> None:
    scene = scene_of(max_attempts=1)
    gate = never()
    _, other = two(scene, saying(started(), gate, delta("one"), finished()), answering("two"))
    layer = used_to(scene.means(), scene, 0.001)
    events = layer.events(question(whole=True))
    gate.set()
    assert read([event async for event in events])[1] == "one"
    assert other.asked == []


async def test_where_one_fails_the_other_is_waited_for() -> None:
    scene = scene_of()
    gate = never()

    async def failing_once_the_other_ran():
        gate.set()
        raise Unavailable("away")
        yield

    two(scene, saying(started(), gate, delta("one"), finished()), failing_once_the_other_ran)
    events = await told(used_to(scene.means(), scene, 0.01))
    assert read(events) == ["started 1 models/a", "one", "finished STOP"]
    assert statuses(events) == [("models/b", "UNAVAILABLE"), ("models/a", "OK")]


@pytest.mark.parametrize("nothing", [(finished(),), (delta("no"), finished(generation.FINISH_REASON_BLOCKED))])
@pytest.mark.parametrize("first", ["a", "b"])
async def test_an_answer_is_preferred_to_none(nothing: tuple, first: str) -> None:
    scene = scene_of()
    both_run, ended = never(), never()

    async def saying_nothing():
        yield started()
        await both_run.wait()
        for event in nothing:
            yield event
        ended.set()

    scripts = {"a": saying_nothing, "b": saying(started(), ended, delta("one"), finished())}
    second = scripts["b" if first == "a" else "a"]

    async def telling_that_it_runs():
        both_run.set()
        async for event in second():
            yield event

    two(scene, scripts[first], telling_that_it_runs)
    events = await told(used_to(scene.means(), scene, 0.01))
    assert read(events)[1:] == ["one", "finished STOP"]


async def test_where_neither_says_anything_another_one_is_asked() -> None:
    scene = scene_of(max_attempts=3)
    both_run = never()

    async def saying_nothing_once_the_other_ran():
        both_run.set()
        yield started()
        yield finished()

    two(scene, saying(started(), both_run, finished()), saying_nothing_once_the_other_ran)
    scene.candidate("c", answering("three"))
    events = await told(used_to(scene.means(), scene, 0.01))
    assert read(events) == ["started 1 models/c", "three", "finished STOP"]


async def test_where_both_fail_the_call_does() -> None:
    scene = scene_of()
    gate = never()

    async def failing_once_the_other_ran():
        gate.set()
        raise InvalidArgument("bad", field="f")
        yield

    two(scene, saying(started(), gate, Unavailable("away")), failing_once_the_other_ran)
    scene.policy = scene.policy.model_copy(update={"fallback": FallbackPolicy(max_attempts=2)})
    with pytest.raises((InvalidArgument, Unavailable)):
        await told(used_to(scene.means(), scene, 0.01))


async def test_a_broken_unary_attempt_is_retried_unseen() -> None:
    scene = scene_of()
    scene.candidate("a", saying(started(), delta("on"), Unavailable("away")), answering("two"))
    assert read(await told(scene.layer())) == ["started 1 models/a", "two", "finished STOP"]


async def test_a_caller_that_leaves_ends_both() -> None:
    scene = scene_of()
    gate = never()

    async def telling_that_it_runs():
        gate.set()
        await never().wait()
        yield

    targets = two(scene, slow_one(), telling_that_it_runs)
    task = asyncio.create_task(told(used_to(scene.means(), scene, 0.01)))
    await asyncio.wait_for(gate.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(target.closed, target.at_work) for target in targets] == [(1, 0), (1, 0)]
