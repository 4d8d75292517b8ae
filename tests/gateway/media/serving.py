"""MediaService served over a real socket, as the gateway serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc

from chiasm.v1 import media_service_pb2_grpc
from services.gateway.media.service import MediaServer, UploadLimits
from services.gateway.media.store import MediaStore
from services.runtime.config import ServiceSettings
from services.runtime.health import Readiness
from services.runtime.tenant import tenant_of
from tests.in_process import Served, served

MAX_BYTES = 4 * 2**20


class _Service:
    """MediaService alone."""

    names = ("chiasm.v1.MediaService",)
    readiness: Readiness

    def __init__(self, server: MediaServer) -> None:
        self._server = server

    def register(self, server: grpc.aio.Server) -> None:
        media_service_pb2_grpc.add_MediaServiceServicer_to_server(self._server, server)

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def serving(folder: Path, **limits: float) -> AsyncIterator[Served]:
    """Keeps uploads below `folder / "kept"`."""
    store = MediaStore.open(str(folder / "kept"), timedelta(hours=1))
    server = MediaServer(store, UploadLimits(**{"max_bytes": MAX_BYTES, **limits}), tenant_of)
    async with served(_Service(server), ServiceSettings(ready_file=folder / "ready", log_format="text")) as running:
        yield running


def kept(folder: Path) -> list[Path]:
    """The files that are kept, and whatever else was left."""
    return [path for path in (folder / "kept").rglob("*") if path.is_file()]
