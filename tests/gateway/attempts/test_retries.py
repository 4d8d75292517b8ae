"""Further attempts at the only target."""

import pytest

from services.gateway.policy import CircuitPolicy, FallbackPolicy, Policy
from services.runtime.errors import Overloaded, Unavailable, to_status
from tests.gateway.attempts.scene import Scene, answering, delta, question, read, saying, started


def asking_to_wait(seconds: int) -> Overloaded:
    """As another of Chiasm's servers sends it."""
    error = Overloaded("full", retry_after_s=seconds)
    error.forwarded = to_status(error)
    return error


async def test_a_brief_outage_is_invisible() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(Unavailable("away")), answering("two"))
    assert read(await scene.told()) == ["started 1 models/a", "two", "finished STOP"]
    assert len(target.asked) == 2


async def test_nothing_is_said_twice() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(started(), delta("on"), Unavailable("away")), answering("two"))
    with pytest.raises(Unavailable):
        await scene.told()
    assert len(target.asked) == 1


async def test_the_cap_holds() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(max_attempts=3)))
    target = scene.candidate("a", saying(Unavailable("away")))
    with pytest.raises(Unavailable):
        await scene.told()
    assert len(target.asked) == 3


async def test_a_wish_to_wait_that_fits_is_kept() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(asking_to_wait(1)), answering("two"))
    events = await scene.told(timeout_s=10)
    assert read(events)[-1] == "finished STOP"
    assert events[-1].finished.route.duration.ToNanoseconds() >= 1e9
    assert len(target.asked) == 2


async def test_one_that_does_not_fit_ends_the_call_at_once() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(asking_to_wait(60)), answering("two"))
    with pytest.raises(Overloaded):
        await scene.told(timeout_s=10)
    assert len(target.asked) == 1


async def test_a_full_target_that_does_not_say_when_is_left_alone() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(Overloaded("full")), answering("two"))
    with pytest.raises(Overloaded):
        await scene.told()
    assert len(target.asked) == 1


async def test_a_brown_out_does_not_become_a_storm() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(max_attempts=2), circuit=CircuitPolicy(failures=99)))
    target = scene.candidate("a", saying(Unavailable("away")))
    layer = scene.layer()
    for _ in range(20):
        with pytest.raises(Unavailable):
            async for _ in layer.events(question()):
                pass
    assert len(target.asked) <= 20 + 5
