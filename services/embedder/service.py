"""The embedder's RPCs: protos in, protos out."""

import asyncio
from contextlib import AsyncExitStack

import grpc

from chiasm.v1 import (
    classification_pb2_grpc,
    embedding_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    search_pb2_grpc,
)
from services.embedder import convert
from services.embedder.batching.batcher import Batcher
from services.embedder.batching.worker import Worker
from services.embedder.classification_service import ClassificationServer
from services.embedder.classifying import Classifier
from services.embedder.config import EmbedderSettings
from services.embedder.documents.documents import Documents
from services.embedder.documents.limits import DocumentLimits
from services.embedder.embedding import Embedder
from services.embedder.embedding_service import EmbeddingServer
from services.embedder.index.catalogue import Catalogue
from services.embedder.indexing import Indexer
from services.embedder.models.served import Served, ServedModels
from services.embedder.search_service import SearchServer
from services.embedder.searching import Searcher
from services.runtime.media import ImageLimits
from services.runtime.paging import list_models
from services.runtime.requests import check_model
from services.runtime.server import Readiness


class EmbedderService(models_pb2_grpc.ModelServiceServicer):
    """Embedding models behind EmbeddingService, ClassificationService and ModelService, and collections of what they
    gave behind SearchService.
    """

    names = (
        "chiasm.v1.EmbeddingService",
        "chiasm.v1.ClassificationService",
        "chiasm.v1.ModelService",
        "chiasm.v1.SearchService",
    )
    readiness: Readiness

    def __init__(self, settings: EmbedderSettings) -> None:
        self._settings = settings
        self._worker = Worker()
        self._batcher = Batcher(
            self._worker, max_batch_tokens=settings.max_batch_tokens, batch_timeout_s=settings.batch_timeout_s
        )
        self._models = ServedModels()
        self._documents = Documents(_limits(settings), processes=settings.document_processes)
        embedder = Embedder(settings, self._batcher)
        indexer = Indexer(
            embedder,
            self._documents,
            at_once=settings.documents_at_once,
            max_bytes=settings.max_indexing_bytes,
            timeout_s=settings.document_timeout_s,
        )
        self._embeddings = EmbeddingServer(settings, self._models, embedder)
        self._classification = ClassificationServer(settings, self._models, Classifier(embedder))
        self._search = SearchServer(settings, self._models, indexer, Searcher(self._models, embedder))

    def register(self, server: grpc.aio.Server) -> None:
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(self._embeddings, server)
        classification_pb2_grpc.add_ClassificationServiceServicer_to_server(self._classification, server)
        search_pb2_grpc.add_SearchServiceServicer_to_server(self._search, server)

    async def start(self) -> None:
        self._search.catalogue = await Catalogue.open(self._settings)
        for source in self._settings.models:
            await self._worker.run(self._models.add, source, self._settings)

    async def run(self) -> None:
        """Raises when a model is lost, which ends the service with a non-zero code."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._batcher.run(), name="make batches")
            group.create_task(self._search.catalogue.run(), name="maintain the collections")

    async def stop(self) -> None:
        async with AsyncExitStack() as closing:  # each, whatever another raises
            if self._search.catalogue is not None:  # the start may have been cut short
                closing.push_async_callback(self._search.catalogue.close)
            closing.push_async_callback(self._documents.close)
            closing.push_async_callback(self._worker.stop)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, [self._describe(served) for served in self._models])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        check_model(request.name, "name")
        return models_pb2.GetModelResponse(model=self._describe(self._models.get(request.name, "name")))

    def _describe(self, served: Served) -> models_pb2.Model:
        return convert.model_to_proto(served.name, served.model, self._settings, self._batcher)


def _limits(settings: EmbedderSettings) -> DocumentLimits:
    return DocumentLimits(
        image=ImageLimits(settings.max_media_bytes, settings.max_image_pixels),
        max_bytes=settings.max_document_bytes,
        max_pages=settings.max_pages,
        max_film_s=settings.max_film_seconds,
        max_moments=settings.max_moments,
    )
