"""An Embedder with a real model, without a service around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.embedder.batching.batcher import Batcher
from services.embedder.batching.worker import Worker
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedder
from services.embedder.models.served import Served, ServedModels


@dataclass(frozen=True)
class Standing:
    embedder: Embedder
    batcher: Batcher
    served: Served
    settings: EmbedderSettings


@asynccontextmanager
async def standing(folder: Path, *, running: bool = True, **settings: object) -> AsyncIterator[Standing]:
    """With the checkpoint in `folder`; what is asked of it waits for ever where it is not `running`.

    `settings` are not checked, so that they may be less than a service's.
    """
    configured = EmbedderSettings(models=[str(folder)]).model_copy(update=settings)
    worker, models = Worker(), ServedModels()
    await worker.run(models.add, str(folder), configured)
    batcher = Batcher(worker, max_batch_tokens=configured.max_batch_tokens, batch_timeout_s=configured.batch_timeout_s)
    run = asyncio.create_task(batcher.run() if running else asyncio.Event().wait())
    try:
        yield Standing(Embedder(configured, batcher), batcher, *models, configured)
    finally:
        run.cancel()
        await asyncio.wait({run})
        await worker.stop()
