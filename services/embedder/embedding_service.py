"""EmbeddingService's RPCs: protos in, protos out."""

import grpc

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc
from services.embedder import convert
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedder
from services.embedder.models.served import ServedModels
from services.runtime.deadline import remaining_s, within
from services.runtime.requests import check_embed, name_request


class EmbeddingServer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """What it is given is the service's."""

    def __init__(self, settings: EmbedderSettings, models: ServedModels, embedder: Embedder) -> None:
        self._settings = settings
        self._models = models
        self._embedder = embedder

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding_pb2.EmbedResponse:
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        check_embed(request, max_items=self._settings.max_items)
        served = self._models.choose(request.model, "model")
        question = convert.question_from_proto(request, served.name)
        request_id = name_request(request)
        async with within(seconds):
            embedded = await self._embedder.embed(served.model, question)
        revision = served.model.facts.revision
        return convert.response_to_proto(embedded, model=served.name, revision=revision, request_id=request_id)
