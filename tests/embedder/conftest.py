"""Checkpoints made once, and the embedder in this process."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from chiasm import AsyncClient
from services.embedder.config import EmbedderSettings
from services.embedder.service import EmbedderService
from tests.embedder.checkpoints import random_colpali, random_siglip
from tests.in_process import served


@dataclass(frozen=True)
class Served:
    """An embedder that is ready."""

    client: AsyncClient
    address: str
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
        sources = [str(model) for model in models]
        own = Path(tempfile.mkdtemp(dir=tmp_path))  # several in one test find nothing of each other
        where = {"ready_file": own / "ready", "index_uri": str(own / "index")}
        configured = EmbedderSettings(models=sources, **where | settings)
        async with (
            served(EmbedderService(configured), configured) as process,
            AsyncClient(process.address) as client,
        ):
            yield Served(client, process.address, process.exit_code)

    return serving
