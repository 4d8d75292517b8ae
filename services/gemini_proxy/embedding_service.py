"""EmbeddingService's RPC: protos in, protos out."""

import time
from collections.abc import AsyncIterator

import grpc

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc, errors_pb2, models_pb2
from services.gemini_proxy import embedding_convert as convert
from services.gemini_proxy.attempts import Attempts
from services.gemini_proxy.catalogue import find_model
from services.gemini_proxy.config import NO_KEY, GeminiSettings
from services.gemini_proxy.embedding import Embedder
from services.gemini_proxy.embedding_question import MAX_ITEMS
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from services.runtime.requests import check_embed, name_request
from services.runtime.tenant import tenant_of


class EmbeddingServer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Gemini's embedding models. What it is given is the service's, which opens and closes it."""

    def __init__(
        self,
        settings: GeminiSettings,
        embedder: Embedder,
        pool: Pool,
        prices: Prices,
        attempts: Attempts,
        room: WaitingRoom,
    ) -> None:
        self._settings = settings
        self._embedder = embedder
        self._pool = pool
        self._prices = prices
        self._attempts = attempts
        self._room = room

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding_pb2.EmbedResponse:
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        deadline = time.monotonic() + seconds
        tenant = tenant_of(context)
        check_embed(request, max_items=MAX_ITEMS)
        _check_vectors(request.vectors)
        model = find_model(self._model(request.model))
        if not self._pool.names:
            raise FailedPrecondition(NO_KEY, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        name_request(request)
        async with within(seconds):
            question = await convert.question_from_proto(request, model=model, tenant=tenant, settings=self._settings)
            embedded = await self._embedder.embed(question, timeout_s=deadline - time.monotonic())
        return convert.response_to_proto(embedded, question)

    async def EmbedStream(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
        raise Unimplemented("Gemini embeds no streams: send Embed requests, or ask an embedder")

    def models(self) -> list[models_pb2.Model]:
        """All that are served."""
        return [
            convert.model_to_proto(
                find_model(name),
                self._prices,
                self._settings,
                running=len(self._attempts),
                waiting=self._room.waiting,
                ready=bool(self._pool.names),
            )
            for name in self._settings.embedding_models
        ]

    def _model(self, name: str) -> str:
        served = self._settings.embedding_models
        if not name and len(served) == 1:
            return served[0]
        listed = ", ".join(f"models/{model}" for model in served) or "none"
        if not name:
            raise InvalidArgument(f"name one of {listed}", field="model")
        if (bare := name.removeprefix("models/")) not in served:
            raise NotFound(f"{name!r} embeds nothing here; served are {listed}", field="model")
        return bare


def _check_vectors(options: embedding_pb2.VectorOptions) -> None:
    if options.dtype not in (embedding_pb2.DATA_TYPE_UNSPECIFIED, embedding_pb2.DATA_TYPE_FLOAT32):
        raise InvalidArgument("Gemini's vectors are float32 alone", field="vectors.dtype")
    if options.pool_factor > 1:
        raise InvalidArgument("Gemini gives an item one vector alone", field="vectors.pool_factor")
