"""What every server that answers questions has in common: the RPCs over one stream of events."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from chiasm.v1 import generation_pb2, generation_pb2_grpc, models_pb2_grpc
from services.runtime.server import Readiness
from services.runtime.streams import collect


class GenerationServer(ABC, generation_pb2_grpc.GenerationServiceServicer, models_pb2_grpc.ModelServiceServicer):
    """GenerationService and ModelService. A subclass gives the events, the models, and the rest of `Service`."""

    names = ("chiasm.v1.GenerationService", "chiasm.v1.ModelService")
    readiness: Readiness

    @abstractmethod
    def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        """The answer to `request` as it comes, an async generator; raises a ChiasmError."""

    def register(self, server: grpc.aio.Server) -> None:
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(self, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        return await collect(self.events(request, context))

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        async with aclosing(self.events(request, context)) as events:
            async for event in events:
                yield event
