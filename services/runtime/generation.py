"""What every server that answers questions has in common: the RPCs over one stream of events."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cached_property

import grpc

from chiasm.v1 import generation_pb2, generation_pb2_grpc, models_pb2_grpc
from services.runtime.load_report import Load, Rate, trailing_metadata
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

    def load(self) -> Load | None:
        """How busy the server is, told with each whole answer; None tells nothing, and replicas take turns."""
        return None

    def register(self, server: grpc.aio.Server) -> None:
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(self, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        response = await collect(self.events(request, context))
        self.tell_load(context)
        return response

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        async with aclosing(self.events(request, context)) as events:
            async for event in events:
                yield event
        self.tell_load(context)

    def tell_load(self, context: grpc.aio.ServicerContext) -> None:
        """To be called when the last of an answer is given, before the call ends."""
        self._answers.happened()
        if (load := self.load()) is not None:
            context.set_trailing_metadata(trailing_metadata(load, self._answers.per_s))

    @cached_property
    def _answers(self) -> Rate:
        return Rate()
