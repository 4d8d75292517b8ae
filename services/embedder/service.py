"""The embedder's RPCs: protos in, protos out."""

import grpc

from chiasm.v1 import embedding_pb2_grpc, models_pb2, models_pb2_grpc
from services.embedder import convert
from services.embedder.batching.batcher import Batcher
from services.embedder.batching.worker import Worker
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedder
from services.embedder.embedding_service import EmbeddingServer
from services.embedder.models.served import Served, ServedModels
from services.runtime.paging import list_models
from services.runtime.server import Readiness


class EmbedderService(models_pb2_grpc.ModelServiceServicer):
    """Embedding models behind EmbeddingService and ModelService."""

    names = ("chiasm.v1.EmbeddingService", "chiasm.v1.ModelService")
    readiness: Readiness

    def __init__(self, settings: EmbedderSettings) -> None:
        self._settings = settings
        self._worker = Worker()
        self._batcher = Batcher(
            self._worker, max_batch_tokens=settings.max_batch_tokens, max_queued_tokens=settings.max_queued_tokens
        )
        self._models = ServedModels()
        self._embeddings = EmbeddingServer(settings, self._models, Embedder(settings, self._batcher))

    def register(self, server: grpc.aio.Server) -> None:
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(self._embeddings, server)

    async def start(self) -> None:
        for source in self._settings.models:
            await self._worker.run(self._models.add, source, self._settings)

    async def run(self) -> None:
        """Raises when a model is lost, which ends the service with a non-zero code."""
        await self._batcher.run()

    async def stop(self) -> None:
        self._worker.stop()

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, [self._describe(served) for served in self._models])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=self._describe(self._models.get(request.name, "name")))

    def _describe(self, served: Served) -> models_pb2.Model:
        return convert.model_to_proto(served.name, served.model, self._settings, self._batcher)
