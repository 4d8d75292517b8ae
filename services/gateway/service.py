"""The gateway's RPCs: protos in, protos out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from chiasm.v1 import generation_pb2, models_pb2, usage_pb2_grpc
from services.gateway.attempt import Clock, attempt
from services.gateway.config import GatewaySettings
from services.gateway.router import Router
from services.gateway.target import Target
from services.gateway.usage import UsageForwarder
from services.runtime.deadline import remaining_s
from services.runtime.errors import NotFound
from services.runtime.generation import GenerationServer
from services.runtime.paging import list_models
from services.runtime.requests import check_generate, name_request
from services.runtime.streams import each_within


class GatewayService(GenerationServer):
    """Every model behind one address."""

    names = (*GenerationServer.names, "chiasm.v1.UsageService")

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._router = Router(())
        self._usage = UsageForwarder(settings)

    def register(self, server: grpc.aio.Server) -> None:
        super().register(server)
        usage_pb2_grpc.add_UsageServiceServicer_to_server(self._usage, server)

    async def start(self) -> None:
        self._usage.open()
        self._router = Router([Target(address, self._settings) for address in self._settings.targets])

    async def run(self) -> None:
        """Ready while at least one target is."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._router.watch(), name="watch targets")
            while True:
                self._router.changed.clear()
                self.readiness.set(bool(self._router.models))
                await self._router.changed.wait()

    async def stop(self) -> None:
        await self._router.close()
        await self._usage.close()

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, self._router.models.values())

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        model = self._router.models.get(request.name)
        if model is None:
            raise NotFound(f"{request.name!r} is not served here", field="name")
        return models_pb2.GetModelResponse(model=model)

    async def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        arrived = Clock()
        timeout_s = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        check_generate(request)
        target, request.model = self._router.choose(request.model)
        name_request(request)
        async with aclosing(each_within(timeout_s, attempt(target, request, timeout_s, arrived))) as events:
            async for event in events:
                yield event
