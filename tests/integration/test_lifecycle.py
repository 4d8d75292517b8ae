"""What happens when clients, services and the engine die."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from chiasm import AsyncClient, Delta, Task, Unavailable
from chiasm.command.service_process import ServiceSpec, State
from chiasm.command.stack import Stack
from tests.integration.drain import drain_under_load
from tests.integration.slots import seconds_to_free_a_slot
from tests.pictures import scene_png
from tests.stacks import gateway, running


async def test_a_killed_client_frees_the_engines_slot(talkative_model: Path) -> None:
    # Within 1 s on an idle machine, which `make shows` measures; the stream would have gone on for much longer.
    assert await seconds_to_free_a_slot(talkative_model) < 5.0


@pytest.mark.parametrize("service", ["gateway", "paligemma"])
async def test_sigterm_under_load_loses_no_call(talkative_model: Path, service: str) -> None:
    drained = await drain_under_load(talkative_model, service, calls=8)
    assert (drained.hung, drained.early_cut, drained.exit_code) == (0, 0, 0)
    assert drained.completed + drained.refused == 16


async def test_a_dead_engine_ends_its_service_and_answers_its_calls(talkative_model: Path) -> None:
    _, png = scene_png()
    async with running(talkative_model) as stack, AsyncClient(gateway(stack)) as client:
        paligemma = stack.services["paligemma"]
        stream = client.stream(images=[png], task=Task.CAPTION, max_tokens=3_000)
        async for event in stream:
            if isinstance(event, Delta):
                break
        for child in psutil.Process(paligemma.pid).children(recursive=True):
            os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            async for _ in stream:
                pass
        async with asyncio.timeout(60):
            await paligemma.wait()
        assert paligemma.returncode == 1
        with pytest.raises(Unavailable):
            await client.caption(png, timeout_s=10)
        assert await client.models() == []


async def test_a_killed_service_leaves_no_engine_behind(talkative_model: Path) -> None:
    async with running(talkative_model) as stack:
        paligemma = psutil.Process(stack.services["paligemma"].pid)
        family = paligemma.children(recursive=True)
        assert family
        paligemma.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, timeout=30)
        assert alive == []


async def test_a_signal_amid_the_load_is_heeded(talkative_model: Path, tmp_path: Path) -> None:
    environment = {"CHIASM_PALIGEMMA_MODEL": str(talkative_model)}
    spec = ServiceSpec("paligemma", "services.paligemma", environment=environment)
    async with Stack([spec], log_dir=tmp_path) as stack:
        paligemma = stack.services["paligemma"]
        async with asyncio.timeout(60):
            await paligemma.bound_address()
        process = psutil.Process(paligemma.pid)
        while not (family := process.children(recursive=True)):  # noqa: ASYNC110 - vLLM starts its engine
            await asyncio.sleep(0.05)
        assert paligemma.state is not State.READY
        process.terminate()
        async with asyncio.timeout(60):
            await paligemma.wait()
        assert paligemma.returncode == 0
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, timeout=30)
        assert alive == []
