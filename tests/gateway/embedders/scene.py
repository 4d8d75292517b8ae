"""A gateway in the test's own process, before a scripted embedder and scripted models."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.gateway.admission.byte_room import ByteRoom
from services.gateway.config import GatewaySettings
from services.gateway.service import GatewayService
from tests.client.scripted import Scripted, serving
from tests.client.scripted_embedder import ScriptedEmbedder, serving_embedder
from tests.in_process import served


@dataclass(frozen=True)
class Scene:
    """What a test has."""

    address: str
    """The gateway's."""
    channel: grpc.aio.Channel
    """To the gateway."""
    embedder: ScriptedEmbedder
    model: Scripted
    room: ByteRoom
    """The gateway's, for media."""


@asynccontextmanager
async def scene(folder: Path, *, ready: str = "", **settings: object) -> AsyncIterator[Scene]:
    """Once the gateway knows its models, or what `ready` names is ready, and its embedders. `settings` are its own."""
    async with serving_embedder() as embedder, serving() as model:
        wanted = {
            "port": 0,
            "ready_file": folder / "address",
            "targets": (model.address,),
            "embedder_targets": (embedder.address,),
            "media_store": str(folder / "media"),
            "refresh_s": 0.05,
        }
        chosen = GatewaySettings(**(wanted | settings))
        service = GatewayService(chosen)
        async with (
            served(service, chosen, name=ready) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            while chosen.embedder_targets and not service._embedders.models:  # noqa: ASYNC110 - it looks now and then
                await asyncio.sleep(0.01)
            yield Scene(gateway.address, channel, embedder, model, service._layers.room)
