import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from chiasm.v1 import generation_pb2_grpc
from services.runtime.server import serve
from tests.runtime.echo import EchoService, EchoSettings

START_S = 30


@dataclass(frozen=True)
class Served:
    """An echo service in this process."""

    service: EchoService
    address: str
    channel: grpc.aio.Channel
    stub: generation_pb2_grpc.GenerationServiceStub
    exit_code: asyncio.Task[int]

    def terminate(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Spawned:
    """An echo service in a process of its own."""

    process: asyncio.subprocess.Process
    address: str
    journal: Path
    log: Path

    async def happened(self, event: str, times: int) -> None:
        """Waits until the service has noted `event` so many times."""
        await until(lambda: self.journal.exists() and self.journal.read_text().split().count(event) >= times)

    async def exit_code(self) -> int:
        async with asyncio.timeout(START_S):
            return await self.process.wait()


async def until(happened: Callable[[], object]) -> None:
    """Waits for what rings no event here, such as a file that another process writes."""
    async with asyncio.timeout(START_S):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _address(ready_file: Path) -> str:
    await until(ready_file.exists)
    return await asyncio.to_thread(ready_file.read_text)


@pytest.fixture
def serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Serves an echo in this process on a free port, with the settings given, and drains it at the end."""

    @asynccontextmanager
    async def serving(
        channel: Callable[[str], grpc.aio.Channel] = grpc.aio.insecure_channel, **settings: object
    ) -> AsyncIterator[Served]:
        configured = EchoSettings(ready_file=tmp_path / "ready", **settings)
        service = EchoService(configured)
        exit_code = asyncio.create_task(serve(service, configured))
        address = await _address(configured.ready_file)
        async with channel(address) as opened:
            stub = generation_pb2_grpc.GenerationServiceStub(opened)
            try:
                yield Served(service, address, opened, stub, exit_code)
            finally:
                if not exit_code.done():
                    signal.raise_signal(signal.SIGTERM)
                async with asyncio.timeout(START_S):
                    await exit_code
        foreign = ("grpc", "asyncio", "opentelemetry")  # what they log is something that went wrong in them
        assert [record for record in caplog.records if record.name.startswith(foreign)] == []

    return serving


@pytest.fixture
def spawning(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Spawned]]:
    """Serves an echo in a process of its own, with the settings given; the process is gone at the end."""

    @asynccontextmanager
    async def spawning(name: str = "echo", **settings: object) -> AsyncIterator[Spawned]:
        folder = tmp_path / name
        folder.mkdir()
        files = {"ready_file": folder / "ready", "journal": folder / "journal"}
        variables = {f"CHIASM_ECHO_{key.upper()}": str(value) for key, value in (files | settings).items()}
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.runtime.echo", env=os.environ | variables, stderr=log
            )
        try:
            yield Spawned(process, await _address(folder / "ready"), folder / "journal", folder / "log")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return spawning
