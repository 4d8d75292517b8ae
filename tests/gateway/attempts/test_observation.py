"""What a call's span tells of its attempts."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from services.gateway.policy import CascadePolicy, FallbackPolicy, Policy
from services.runtime.errors import Unavailable
from tests.gateway.attempts.scene import Scene, answering, saying


async def told(scene: Scene) -> list[tuple[str, str]]:
    """The events of the span around a call: names, and what is most telling of each."""
    with TracerProvider().get_tracer("test").start_as_current_span("call") as span:
        await scene.told()
    telling = ("chiasm.reason", "rpc.response.status_code", "chiasm.made")
    return [
        (event.name, next(str(event.attributes[name]) for name in telling if name in event.attributes))
        for event in span.events
    ]


async def test_a_fallback() -> None:
    scene = Scene()
    scene.candidate("a", saying(Unavailable("away")))
    scene.candidate("b", answering("two"))
    assert await told(scene) == [
        ("chiasm.attempt", "UNAVAILABLE"),
        ("chiasm.fallback", "unavailable"),
        ("chiasm.attempt", "OK"),
    ]


async def test_a_retry() -> None:
    scene = Scene()
    scene.candidate("a", saying(Unavailable("away")), answering("two"))
    assert ("chiasm.retry", "unavailable") in await told(scene)


@pytest.mark.parametrize("most", [1, 2])
async def test_an_escalation_made_and_not_made(most: int) -> None:
    scene = Scene(Policy(cascade=CascadePolicy(), fallback=FallbackPolicy(max_attempts=most)), least_confidence=0.4)
    scene.candidate("a", answering("one", confidence=0.1))
    scene.candidate("b", answering("two", confidence=0.9))
    assert ("chiasm.escalation", str(most == 2)) in await told(scene)
