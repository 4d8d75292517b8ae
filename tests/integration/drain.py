"""SIGTERM under load: what becomes of every call in flight?"""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from chiasm import AsyncClient, Cancelled, Delta, Task, Unavailable
from tests.pictures import scene_png
from tests.stacks import gateway, running

HANG_S = 90.0
# CANCELLED is what gRPC itself says to a call that arrives as the listener closes.
TOLD = (Unavailable, Cancelled)


@dataclass(frozen=True)
class Drained:
    """What the callers saw, and how the service ended."""

    completed: int
    refused: int
    hung: int
    early_cut: int
    exit_code: int | None
    seconds: float


async def drain_under_load(model: Path, service: str, calls: int, *, tokens: int = 200) -> Drained:
    """SIGTERM `service` ("gateway" or "paligemma") once each of `calls` streams and as many unary calls run.

    All of them began before the signal, so all must be completed; another `calls` begin after it and
    must be completed or refused with a status.
    """
    _, png = scene_png()
    async with running(model) as stack, AsyncClient(gateway(stack), timeout_s=HANG_S) as client:
        await client.caption(png, max_tokens=2)
        begun = [asyncio.Event() for _ in range(calls)]
        early = [asyncio.create_task(_stream(client, png, tokens, event)) for event in begun]
        await asyncio.gather(*(event.wait() for event in begun))
        signalled = time.monotonic()
        os.kill(stack.services[service].pid, signal.SIGTERM)
        late = [asyncio.create_task(client.caption(png, max_tokens=8)) for _ in range(calls)]
        done, hung = await asyncio.wait([*early, *late], timeout=HANG_S)
        async with asyncio.timeout(HANG_S):
            await stack.services[service].wait()
        outcomes = [task.exception() for task in done]
        assert all(error is None or isinstance(error, TOLD) for error in outcomes), outcomes
        return Drained(
            completed=sum(error is None for error in outcomes),
            refused=sum(error is not None for error in outcomes),
            hung=len(hung),
            early_cut=sum(not task.done() or task.exception() is not None for task in early),
            exit_code=stack.services[service].returncode,
            seconds=time.monotonic() - signalled,
        )


async def _stream(client: AsyncClient, png: bytes, tokens: int, begun: asyncio.Event) -> None:
    stream = client.stream(images=[png], task=Task.CAPTION, max_tokens=tokens)
    async for event in stream:
        if isinstance(event, Delta):
            begun.set()
    assert stream.answer.usage.output_tokens == tokens
