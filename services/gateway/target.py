"""A model server behind the gateway: its channel, and which models it serves now."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc

from chiasm.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.gateway.config import GatewaySettings
from services.runtime.boundary import Upstream
from services.runtime.channel import open_channel
from services.runtime.telemetry import traced_metadata

logger = logging.getLogger(__name__)

LIST_TIMEOUT_S = 5.0
# Said by a server that is there, but has more to do than it can.
_BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Target:
    """One address of a model server, or a name that several replicas of it share."""

    def __init__(self, address: str, settings: GatewaySettings) -> None:
        self.address = address
        self.models: dict[str, models_pb2.Model] = {}
        self.known: set[str] = set()
        self._refresh_s = settings.refresh_s
        self._channel = open_channel(
            address,
            max_message_bytes=settings.max_message_bytes,
            ca_file=settings.target_ca_file,
            certificate_file=settings.target_certificate_file,
            key_file=settings.target_key_file,
        )
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)

    async def watch(self, changed: asyncio.Event) -> None:
        """Keep `models` up to date for ever; sets `changed` when it changes."""
        while True:
            models = await self._list()
            if models.keys() != self.models.keys():
                logger.info("target changed", extra={"target": self.address, "models": sorted(models)})
                changed.set()
            self.models = models
            self.known |= models.keys()
            await asyncio.sleep(self._refresh_s)

    async def _list(self) -> dict[str, models_pb2.Model]:
        models: dict[str, models_pb2.Model] = {}
        request = models_pb2.ListModelsRequest()
        try:
            while True:
                page = await self._models.ListModels(request, timeout=LIST_TIMEOUT_S)
                models |= {model.name: model for model in page.models if model.ready}
                if not page.next_page_token:
                    return models
                request.page_token = page.next_page_token
        except grpc.aio.AioRpcError as error:
            logger.debug("target does not answer", extra={"target": self.address, "status": error.code().name})
            return self.models if error.code() in _BUSY else {}

    async def stream(
        self, request: generation_pb2.GenerateRequest, timeout_s: float
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        """The target's events. Closing the iterator cancels the call. Raises Upstream."""
        call = self._generation.StreamGenerate(request, timeout=timeout_s, metadata=traced_metadata())
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise Upstream(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()
