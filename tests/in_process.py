"""A service served in the test's own process, on a free port."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.config import ServiceSettings
from services.runtime.server import Service, serve

START_S = 60


@dataclass(frozen=True)
class Served:
    """A service that has bound its port."""

    address: str
    exit_code: asyncio.Task[int]


@asynccontextmanager
async def served(
    service: Service, settings: ServiceSettings, *, until_ready: bool = True, name: str = ""
) -> AsyncIterator[Served]:
    """Serves with `settings`, which name a `ready_file`; drains the service at the end and waits for its exit.

    `name` is of what must be ready, the first of the service's names when empty.
    """
    exit_code = asyncio.create_task(serve(service, settings))
    try:
        async with asyncio.timeout(START_S):
            address = await _bound(settings.ready_file, exit_code)
            if until_ready:
                await _ready(address, name or service.names[0])
        yield Served(address, exit_code)
    finally:
        if not exit_code.done():
            signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(START_S):
            await exit_code


async def _bound(ready_file: Path, exit_code: asyncio.Task[int]) -> str:
    while not (address := _text(ready_file)) and not exit_code.done():  # noqa: ASYNC110 - a file rings no event
        await asyncio.sleep(0.01)
    return address


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def _ready(address: str, name: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=name)
        async for response in health_pb2_grpc.HealthStub(channel).Watch(request):
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                return
