"""Does the engine's slot come free when a client dies? One slot, two clients, one of them killed."""

import asyncio
import signal
import sys
import time
from pathlib import Path

from chiasm import AsyncClient, Delta, Task
from tests.pictures import scene_png
from tests.stacks import gateway, running

LONG = 3_900
ONE_SLOT = {"CHIASM_PALIGEMMA_MAX_RUNNING": "1"}


async def seconds_to_free_a_slot(model: Path) -> float:
    """Kill -9 a client amid its stream; seconds until the engine's only slot serves another to its first token."""
    _, png = scene_png()
    async with running(model, ONE_SLOT) as stack, AsyncClient(gateway(stack)) as client:
        await client.caption(png, max_tokens=2)
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.slots", gateway(stack), stdout=asyncio.subprocess.PIPE
        )
        assert await asyncio.wait_for(victim.stdout.readline(), 60) == b"streaming\n"
        async with AsyncClient(stack.services["paligemma"].address) as server:
            (busy,) = await server.models()
        assert (busy.running, busy.waiting) == (1, 0)
        victim.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        stream = client.stream(images=[png], task=Task.CAPTION, max_tokens=2)
        async for event in stream:
            if isinstance(event, Delta):
                break
        seconds = time.monotonic() - killed
        await victim.wait()
        return seconds


async def _stream_for_ever(address: str) -> None:
    """What the victim runs: says so once its answer has begun."""
    async with AsyncClient(address, timeout_s=300) as client:
        stream = client.stream(images=[scene_png()[1]], task=Task.CAPTION, max_tokens=LONG)
        said = False
        async for event in stream:
            if isinstance(event, Delta) and not said:
                print("streaming", flush=True)
                said = True


if __name__ == "__main__":
    asyncio.run(_stream_for_ever(sys.argv[1]))
