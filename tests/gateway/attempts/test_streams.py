"""Over real connections that break at every boundary of a stream, each call ends once, in time and never cut short."""

import asyncio
import itertools
from contextlib import AsyncExitStack, suppress

import pytest

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import models_pb2
from services.gateway.attempts.circuit import Circuit
from services.gateway.config import GatewaySettings
from services.gateway.policy import FallbackPolicy, HedgePolicy, Policy
from services.gateway.routing.target import Target
from services.runtime.errors import ChiasmError
from tests.client import scripted
from tests.fault_proxy import Break, Fault, FaultProxy
from tests.gateway.attempts.scene import Scene, ScriptedCandidate, delta, finished, question, started

TIMEOUT_S = 1.5
# The end of a call may wait for a busy test machine.
LATE_S = 3.0
MARK = b"request-1"
# Of `scripted.whole_stream`: its headers, `started`, two deltas, `finished` and the trailers.
PIECES = range(6)
TEXTS = {"models/tiny": "two circles", "models/second": "three squares"}


async def other_stream(context: scripted.Context):
    for event in (started(), delta("three "), delta("squares"), finished()):
        yield event


async def connected(target: Target) -> None:
    """Returns once a stream without a mark has passed unharmed. The port may be one that another proxy has left."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ChiasmError):
                assert len([event async for event in target.stream(generation.GenerateRequest(), 30)]) == 4
                return


async def ends(server: str, second: str | None, breaks: Break, *, hedge: bool) -> tuple[str, bool]:
    """How a call ends whose first target is broken so, and whether that was reached before another one was asked.

    By the name of the model that answered it whole, or by a status.
    """
    policy = Policy(fallback=FallbackPolicy(slow_share=0.3), hedging=HedgePolicy(share=1))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(server).running())
        proxy.breaks[MARK] = breaks
        scene = Scene(policy)
        for name, address in (("models/tiny", proxy.address), ("models/second", second)):
            if address is not None:
                target = Target(address, GatewaySettings(), Circuit(address, lambda: policy.circuit))
                stack.push_async_callback(target.close)
                await connected(target)
                scene.candidates.append(ScriptedCandidate(target, models_pb2.Model(name=name)))
        events: list[generation.StreamGenerateResponse] = []
        began = asyncio.get_running_loop().time()
        status = ""
        try:
            async with asyncio.timeout(TIMEOUT_S + LATE_S):
                async for event in scene.layer().events(question(TIMEOUT_S, whole=hedge)):
                    events.append(event)
        except ChiasmError as error:
            status = error.code.name
        assert asyncio.get_running_loop().time() - began < TIMEOUT_S + LATE_S
    endings = [event.finished for event in events if event.HasField("finished")]
    assert len(endings) == (0 if status else 1)
    if status:
        return status, proxy.broken > 0
    assert events[-1].HasField("finished")
    model, text = told(events)
    assert text == TEXTS[model]
    return model, proxy.broken > 0


def told(events: list[generation.StreamGenerateResponse]) -> tuple[str, str]:
    """The model and the text that a caller is left with, who follows the contract."""
    model = text = ""
    number = 0
    for event in events:
        match event.WhichOneof("event"):
            case "started":
                number += 1
                assert event.started.attempt == number
                assert text == ""
                model = event.started.model
            case "delta":
                text += event.delta.text
            case "superseded":
                assert event.superseded.attempt == number
                text = ""
    return model, text


@pytest.mark.parametrize("fault", Fault)
async def test_every_stream_ends_once_in_time_and_whole(fault: Fault) -> None:
    cases = list(itertools.product(PIECES, (False, True), (False, True)))
    async with scripted.serving() as server, scripted.serving() as other:
        other.stream = other_stream
        outcomes = await asyncio.gather(
            *(
                ends(server.address, other.address if second else None, Break(fault, piece), hedge=hedge)
                for piece, second, hedge in cases
            )
        )
    for (piece, second, hedge), (end, _) in zip(cases, outcomes, strict=True):
        if second:
            assert end in TEXTS, (piece, hedge, end)
    assert sum(broken for _, broken in outcomes) > len(cases) / 2
