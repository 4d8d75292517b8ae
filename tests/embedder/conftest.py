"""Checkpoints made once, and the embedder in this process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chiasm import AsyncClient
from services.embedder.config import EmbedderSettings
from services.embedder.service import EmbedderService
from services.runtime.server import serve
from tests.embedder.checkpoints import random_colpali, random_siglip

START_S = 60


@dataclass(frozen=True)
class Served:
    """An embedder that is ready."""

    client: AsyncClient
    exit_code: asyncio.Task[int]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Several wait for each other where cores are busy, and gain nothing with models this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_siglip(tmp_path_factory.mktemp("models") / "siglip")


@pytest.fixture(scope="session")
def colpali(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_colpali(tmp_path_factory.mktemp("models") / "colpali")


@pytest.fixture
def serving(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Serves the checkpoints given on a free port, and drains the service at the end."""

    @asynccontextmanager
    async def serving(*models: Path, **settings: object) -> AsyncIterator[Served]:
        sources, ready_file = [str(model) for model in models], tmp_path / "ready"
        configured = EmbedderSettings(models=sources, ready_file=ready_file, **settings)
        exit_code = asyncio.create_task(serve(EmbedderService(configured), configured))
        try:
            async with asyncio.timeout(START_S):
                address = await _ready(ready_file)
            async with AsyncClient(address) as client:
                yield Served(client, exit_code)
        finally:
            if not exit_code.done():
                signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(START_S):
                await exit_code

    return serving


async def _ready(ready_file: Path) -> str:
    """The address, once what listens there is ready."""
    while not (address := _text(ready_file)):  # noqa: ASYNC110 - a file rings no event
        await asyncio.sleep(0.01)
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service="chiasm.v1.EmbeddingService")
        async for response in health_pb2_grpc.HealthStub(channel).Watch(request):
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                break
    return address


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
