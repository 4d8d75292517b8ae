"""The gateway's RPCs: protos in, protos out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import grpc

from chiasm.v1 import (
    classification_pb2_grpc,
    embedding_pb2_grpc,
    errors_pb2,
    generation_pb2,
    media_service_pb2_grpc,
    models_pb2,
    route_pb2_grpc,
    search_pb2_grpc,
    usage_pb2_grpc,
)
from services.gateway.answerer import Ask
from services.gateway.asking.asking import Asking
from services.gateway.clock import Clock
from services.gateway.config import GatewaySettings
from services.gateway.embedders.intake import Intake
from services.gateway.embedders.replicas import Replicas
from services.gateway.embedders.service import ClassificationForwarder, EmbeddingForwarder, SearchForwarder
from services.gateway.layers import Layers
from services.gateway.media.desk import MediaDesk
from services.gateway.media.weighing import weigh
from services.gateway.routing.explain import RouteServer
from services.gateway.tenants import door
from services.gateway.tenants.desk import TenantDesk
from services.gateway.usage import UsageForwarder
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import InvalidArgument, NotFound
from services.runtime.generation import GenerationServer
from services.runtime.paging import list_models
from services.runtime.requests import check_generate, name_request
from services.runtime.streams import collect, each_within

ADDED_BYTES = 1_024
"""More than a request grows by on its way through: its name and the model's."""


class GatewayService(GenerationServer):
    """Every model behind one address."""

    _of_targets = (
        *GenerationServer.names,
        "chiasm.v1.MediaService",
        "chiasm.v1.RouteService",
        "chiasm.v1.UsageService",
    )
    _of_embedders = ("chiasm.v1.ClassificationService", "chiasm.v1.EmbeddingService", "chiasm.v1.SearchService")
    names = (*_of_targets, *_of_embedders)

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._layers = Layers(settings)
        self._tenants = TenantDesk(settings, lambda: self._layers.policies.current, self._layers.link)
        self._media = MediaDesk.open(settings, lambda context: door.identity().tenant)
        self._routes = RouteServer(self._layers.router, self._ask)
        self._usage = UsageForwarder(settings)
        self._embedders = Replicas(settings)
        self._intake = Intake(settings, self._embedders, self._media.resolver, self._layers.room)
        self.interceptors = (self._tenants.door,)

    def register(self, server: grpc.aio.Server) -> None:
        super().register(server)
        media_service_pb2_grpc.add_MediaServiceServicer_to_server(self._media.server, server)
        route_pb2_grpc.add_RouteServiceServicer_to_server(self._routes, server)
        usage_pb2_grpc.add_UsageServiceServicer_to_server(self._usage, server)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(EmbeddingForwarder(self._intake), server)
        classification_pb2_grpc.add_ClassificationServiceServicer_to_server(
            ClassificationForwarder(self._intake), server
        )
        search = SearchForwarder(self._intake, Asking(self._intake, self._layers))
        search_pb2_grpc.add_SearchServiceServicer_to_server(search, server)

    async def start(self) -> None:
        self._tenants.open()
        self._usage.open()

    async def run(self) -> None:
        """What embedders do is ready while at least one of them is; the rest while at least one target is."""
        router = self._layers.router
        async with asyncio.TaskGroup() as group:
            group.create_task(self._layers.run(), name="watch the policy and the targets")
            group.create_task(self._embedders.watch(router.changed), name="watch embedders")
            group.create_task(self._media.run(), name="sweep uploads")
            group.create_task(self._tenants.run(), name="renew the leases of tenants' calls")
            while True:
                router.changed.clear()
                self.readiness.set(bool(router.models), self._of_targets)
                self.readiness.set(bool(self._embedders.models), self._of_embedders)
                await router.changed.wait()

    async def stop(self) -> None:
        async with AsyncExitStack() as closing:  # each, whatever another raises
            for part in (self._tenants, self._media, self._usage, self._embedders, self._layers):
                closing.push_async_callback(part.close)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        models = self._models.values()
        return list_models(request, (model for model in models if door.identity().may_use(model.name)))

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        model = self._models.get(request.name)
        if model is None or not door.identity().may_use(request.name):
            raise NotFound(f"{request.name!r} is not served here", field="name")
        return models_pb2.GetModelResponse(model=model)

    @property
    def _models(self) -> dict[str, models_pb2.Model]:
        """Every model served now, by name: who answers before who embeds where two have the same."""
        return self._embedders.models | self._layers.router.models

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        return await collect(self._answer(request, context, whole=True))

    def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        return self._answer(request, context)

    async def _answer(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext, *, whole: bool = False
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        ask = await self._ask(request, context, whole=whole)
        left_s = ask.deadline - asyncio.get_running_loop().time()
        async with aclosing(each_within(left_s, self._layers.events(ask))) as events:
            async for event in events:
                if event.HasField("finished"):
                    door.entry().cost_nanousd = event.finished.usage.cost_nanousd
                yield event

    async def _ask(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext, *, whole: bool = False
    ) -> Ask:
        """The question that a request is, once it is checked and its media are there."""
        arrived = Clock()
        timeout_s = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        deadline = asyncio.get_running_loop().time() + timeout_s
        check_generate(request)
        identity, entry, policy = door.identity(), door.entry(), self._layers.policies.loaded
        entry.model, entry.request_id = request.model, name_request(request)
        async with within(timeout_s):
            resolve = self._media.resolver.resolve
            request = await resolve(request, identity.tenant, deadline, identity.policy.may_read)
            self._check_size(request)
            weight = await weigh(request)
        return Ask(request, identity.tenant, deadline, arrived, weight, identity.policy, policy, whole)

    def _check_size(self, request: generation_pb2.GenerateRequest) -> None:
        """Whether it fits into a message to a model server, to which a model's name is added.

        Raises InvalidArgument.
        """
        if request.ByteSize() + ADDED_BYTES > self._settings.max_message_bytes:
            raise InvalidArgument(
                f"the request has {request.ByteSize():,} bytes with its media; "
                f"at most {self._settings.max_message_bytes - ADDED_BYTES:,} are taken",
                field="messages",
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
