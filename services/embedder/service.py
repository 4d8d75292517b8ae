"""The embedder's RPCs: protos in, protos out."""

import grpc

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc, models_pb2, models_pb2_grpc
from services.embedder import convert
from services.embedder.batcher import Batcher
from services.embedder.config import EmbedderSettings, resource_name
from services.embedder.embedding import Embedder
from services.embedder.model import EmbeddingModel
from services.embedder.worker import Worker
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import InvalidArgument, NotFound
from services.runtime.paging import list_models
from services.runtime.requests import check_embed, name_request
from services.runtime.server import Readiness


class EmbedderService(embedding_pb2_grpc.EmbeddingServiceServicer, models_pb2_grpc.ModelServiceServicer):
    """Embedding models behind EmbeddingService and ModelService."""

    names = ("chiasm.v1.EmbeddingService", "chiasm.v1.ModelService")
    readiness: Readiness

    def __init__(self, settings: EmbedderSettings) -> None:
        self._settings = settings
        self._worker = Worker()
        self._batcher = Batcher(
            self._worker, max_batch_tokens=settings.max_batch_tokens, max_queued_tokens=settings.max_queued_tokens
        )
        self._embedder = Embedder(settings, self._batcher)
        self._models: dict[str, EmbeddingModel] = {}

    def register(self, server: grpc.aio.Server) -> None:
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(self, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    async def start(self) -> None:
        for source in self._settings.models:
            self._models[resource_name(source)] = await self._worker.run(_load, source, self._settings)

    async def run(self) -> None:
        """Raises when a model is lost, which ends the service with a non-zero code."""
        await self._batcher.run()

    async def stop(self) -> None:
        self._worker.stop()

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding_pb2.EmbedResponse:
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        check_embed(request, max_items=self._settings.max_items)
        name = request.model or self._only_model()
        model = self._model(name, "model")
        question = convert.question_from_proto(request, name)
        request_id = name_request(request)
        async with within(seconds):
            embedded = await self._embedder.embed(model, question)
        return convert.response_to_proto(embedded, model=name, revision=model.facts.revision, request_id=request_id)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, [self._describe(name) for name in self._models])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        self._model(request.name, "name")
        return models_pb2.GetModelResponse(model=self._describe(request.name))

    def _only_model(self) -> str:
        if len(self._models) > 1:
            raise InvalidArgument(f"name one of {', '.join(sorted(self._models))}", field="model")
        return next(iter(self._models))

    def _model(self, name: str, field: str) -> EmbeddingModel:
        if name not in self._models:
            raise NotFound(f"{name!r} is not served here; {', '.join(sorted(self._models))} are", field=field)
        return self._models[name]

    def _describe(self, name: str) -> models_pb2.Model:
        return convert.model_to_proto(name, self._models[name], self._settings, self._batcher)


def _load(source: str, settings: EmbedderSettings) -> EmbeddingModel:
    from services.embedder.loading import load  # torch: seconds, in the worker's thread

    return load(source, settings)
