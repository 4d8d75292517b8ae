"""EmbeddingService's RPCs: protos in, protos out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc
from services.embedder import convert
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedder
from services.embedder.embedding_stream_service import EmbeddingStream
from services.embedder.models.served import ServedModels
from services.runtime.deadline import remaining_s, within
from services.runtime.requests import check_embed, check_embed_stream, name_request
from services.runtime.streams import each_within


class EmbeddingServer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """What it is given is the service's."""

    def __init__(self, settings: EmbedderSettings, models: ServedModels, embedder: Embedder) -> None:
        self._settings = settings
        self._models = models
        self._embedder = embedder

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding_pb2.EmbedResponse:
        seconds = self._seconds(context)
        deadline = asyncio.get_running_loop().time() + seconds
        check_embed(request, max_items=self._settings.max_items)
        served = self._models.choose(request.model, "model")
        facts = served.model.facts
        question = convert.question_from_proto(request, served.name)
        question.shaping.check(facts)
        request_id = name_request(request)
        async with within(seconds):
            embedded = await self._embedder.embed(served, question, deadline=deadline)
            return await asyncio.to_thread(
                convert.response_to_proto, embedded, question, revision=facts.revision, request_id=request_id
            )

    async def EmbedStream(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
        seconds = self._seconds(context)
        deadline = asyncio.get_running_loop().time() + seconds
        async with aclosing(each_within(seconds, self._responses(requests, deadline))) as responses:
            async for response in responses:
                yield response

    async def _responses(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest], deadline: float
    ) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
        first = await anext(requests, embedding_pb2.EmbedStreamRequest())
        check_embed_stream(first)
        served = self._models.choose(first.model, "model")
        shaping = convert.shaping_from_proto(first.vectors)
        shaping.check(served.model.facts)
        name_request(first)
        stream = EmbeddingStream(self._embedder, served, first, shaping, deadline, self._settings)
        async with aclosing(stream.responses(requests)) as responses:
            async for response in responses:
                yield response

    def _seconds(self, context: grpc.aio.ServicerContext) -> float:
        return remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
