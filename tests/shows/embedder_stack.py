"""An embedder as a process of its own, for the shows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from tests.stacks import READY_TIMEOUT_S, ROOT

TINY_SIGLIP, TINY_COLPALI = ROOT / "models" / "tiny-siglip", ROOT / "models" / "tiny-colpali"


def embedder_stack(folder: Path, environment: Mapping[str, str]) -> Stack:
    """Its log goes to `folder`, and its index too unless `environment` has it elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"CHIASM_EMBEDDER_INDEX_URI": str(folder / "index")}
    spec = ServiceSpec(
        "embedder", "services.embedder", health="chiasm.v1.EmbeddingService", environment=own | dict(environment)
    )
    return Stack([spec], log_dir=folder)


@asynccontextmanager
async def embedder(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """The address of one that is ready."""
    async with embedder_stack(folder, environment) as stack:
        await stack.wait_ready(READY_TIMEOUT_S)
        yield stack.services["embedder"].address
