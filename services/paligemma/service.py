"""paligemma's RPCs: protos in, protos out."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from chiasm.v1 import generation_pb2, models_pb2
from services.paligemma import convert
from services.paligemma.adapters import Adapter
from services.paligemma.answering import Answerer
from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine
from services.runtime.deadline import remaining_s
from services.runtime.errors import NotFound, Unavailable
from services.runtime.generation import GenerationServer
from services.runtime.load_report import Load
from services.runtime.paging import list_models
from services.runtime.requests import check_generate, name_request
from services.runtime.streams import each_within


class PaligemmaService(GenerationServer):
    """One PaliGemma checkpoint and its adapters behind GenerationService and ModelService."""

    def __init__(self, settings: PaligemmaSettings) -> None:
        self._settings = settings
        self._engine = Engine(settings)
        self._answerer = Answerer(settings, self._engine)
        self._ready = False

    async def start(self) -> None:
        await self._engine.start()
        self._ready = True

    async def run(self) -> None:
        """Returns when the engine process has died, which ends the service with a non-zero code."""
        await self._engine.died()
        self._ready = False

    async def stop(self) -> None:
        await self._engine.stop()

    def load(self) -> Load:
        running, waiting = self._engine.running, self._engine.waiting
        # The call that tells of it has just left the engine, and is as much of the load as the next one.
        utilization = (running + waiting + 1) / self._settings.max_running
        return Load(utilization, running, waiting, self._engine.kv_cache_usage)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        adapters = (None, *self._engine.adapters) if self._ready else ()
        return list_models(request, [self._model(adapter) for adapter in adapters])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=self._model(self._adapter(request.name, "name")))

    async def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        check_generate(request)
        adapter = self._adapter(request.model, "model") if request.model else None
        self._check_ready()
        question = convert.question_from_proto(request, adapter)
        model = self._settings.resource_name_of(adapter and adapter.name)
        started = generation_pb2.Started(model=model, attempt=1, request_id=name_request(request))
        async with aclosing(each_within(seconds, self._answerer.answer(question))) as answer:
            # Held back until something has come, so that a bad image is an error and no answer begun.
            first = await anext(answer)
            yield generation_pb2.StreamGenerateResponse(started=started)
            yield convert.event_to_proto(first)
            async for piece in answer:
                yield convert.event_to_proto(piece)

    def _adapter(self, name: str, field: str) -> Adapter | None:
        """The adapter that `name` names, None for the base model. Raises NotFound naming what is served."""
        served = {self._settings.resource_name_of(adapter.name): adapter for adapter in self._engine.adapters}
        if name == self._settings.resource_name:
            return None
        if name not in served:
            names = ", ".join([self._settings.resource_name, *served])
            raise NotFound(f"{name!r} is not served here; these are: {names}", field=field)
        return served[name]

    def _check_ready(self) -> None:
        if not self._ready:
            raise Unavailable("the model is still loading, or its engine has died")

    def _model(self, adapter: Adapter | None) -> models_pb2.Model:
        self._check_ready()
        return convert.model_to_proto(
            self._settings, self._engine, adapter, segments=self._answerer.segments, ready=self._ready
        )
