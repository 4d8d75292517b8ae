"""EmbeddingService, SearchService and ClassificationService, passed on to embedders; `Ask` is answered here."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from chiasm.v1 import (
    classification_pb2,
    classification_pb2_grpc,
    embedding_pb2,
    embedding_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from services.gateway.asking.asking import Asking
from services.gateway.embedders.intake import Intake
from services.gateway.embedders.item_stream import ItemStream
from services.gateway.forwarding import answer
from services.runtime.deadline import within

R = TypeVar("R")


class EmbeddingForwarder(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Raises Upstream, and what `Intake` does."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding_pb2.EmbedResponse:
        terms = self._intake.terms(context)
        self._intake.name(request)
        request.model = self._intake.allowed(request.model)
        return await self._intake.answer(lambda replica: replica.embedding.Embed, request, terms)

    async def EmbedStream(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
        terms = self._intake.terms(context)
        replica = self._intake.replica(terms)
        call = replica.embedding.EmbedStream(**terms.options())
        stream = ItemStream(call, "item", lambda item: self._intake.taken_in_turn(item, terms), _not_embedded)
        with replica.noting():
            async with aclosing(stream.outcomes(self._checked(requests))) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _checked(self, requests: AsyncIterator[Any]) -> AsyncIterator[embedding_pb2.EmbedStreamRequest]:
        """With the name and the model in the first."""
        is_first = True
        async for request in requests:
            if is_first:
                self._intake.name(request)
                request.model = self._intake.allowed(request.model)
            is_first = False
            yield request


class ClassificationForwarder(classification_pb2_grpc.ClassificationServiceServicer):
    """Raises Upstream, and what `Intake` does."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def Classify(
        self, request: classification_pb2.ClassifyRequest, context: grpc.aio.ServicerContext
    ) -> classification_pb2.ClassifyResponse:
        terms = self._intake.terms(context)
        self._intake.name(request)
        request.model = self._intake.allowed(request.model)
        return await self._intake.answer(lambda replica: replica.classification.Classify, request, terms)


class SearchForwarder(search_pb2_grpc.SearchServiceServicer):
    """Raises Upstream, and what `Intake` does."""

    def __init__(self, intake: Intake, asking: Asking) -> None:
        self._intake = intake
        self._asking = asking

    async def CreateCollection(
        self, request: search_pb2.CreateCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.CreateCollectionResponse:
        collection = request.collection
        collection.model = self._intake.allowed(collection.model, "collection.model")
        return await self._change("CreateCollection", request, context, collection.name)

    async def GetCollection(
        self, request: search_pb2.GetCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.GetCollectionResponse:
        terms = self._intake.terms(context)
        return await self._intake.answer(
            lambda replica: replica.search.GetCollection, request, terms, collection=request.name
        )

    async def ListCollections(
        self, request: search_pb2.ListCollectionsRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.ListCollectionsResponse:
        terms = self._intake.terms(context)
        return await self._intake.answer(lambda replica: replica.search.ListCollections, request, terms)

    async def DeleteCollection(
        self, request: search_pb2.DeleteCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.DeleteCollectionResponse:
        return await self._change("DeleteCollection", request, context, request.name)

    async def Index(
        self, requests: AsyncIterator[search_pb2.IndexRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[search_pb2.IndexResponse]:
        terms = self._intake.terms(context)
        async with within(terms.left_s):
            first = await anext(aiter(requests), search_pb2.IndexRequest())
            await self._intake.check_collection(first.collection, terms)
        replica = self._intake.replica(terms, first.collection)
        call = replica.search.Index(**terms.options())
        stream = ItemStream(call, "document", lambda one: self._intake.taken_in_turn(one, terms), _not_indexed)
        with replica.noting():
            async with aclosing(stream.outcomes(_beginning(first, requests))) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def DeleteDocuments(
        self, request: search_pb2.DeleteDocumentsRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.DeleteDocumentsResponse:
        return await self._change("DeleteDocuments", request, context, request.collection)

    async def Search(
        self, request: search_pb2.SearchRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.SearchResponse:
        terms = self._intake.terms(context)
        self._intake.name(request)
        return await self._intake.search(request, terms)

    async def Ask(self, request: search_pb2.AskRequest, context: grpc.aio.ServicerContext) -> search_pb2.AskResponse:
        terms = self._intake.terms(context)
        self._intake.name(request)
        async with within(terms.left_s):
            return await self._asking.answer(request, terms)

    async def _change(self, method: str, request: Any, context: grpc.aio.ServicerContext, collection: str) -> Any:
        """What is not done twice, and names no media."""
        terms = self._intake.terms(context)
        replica = self._intake.replica(terms, collection)
        with replica.noting():
            return await answer(getattr(replica.search, method), request, terms)


async def _beginning(first: R, others: AsyncIterator[R]) -> AsyncIterator[R]:
    yield first
    async for request in others:
        yield request


def _not_embedded(
    request: embedding_pb2.EmbedStreamRequest, index: int, error: AnyMessage
) -> embedding_pb2.EmbedStreamResponse:
    return embedding_pb2.EmbedStreamResponse(index=index, error=error)


def _not_indexed(request: search_pb2.IndexRequest, index: int, error: AnyMessage) -> search_pb2.IndexResponse:
    return search_pb2.IndexResponse(document_id=request.document.id, index=index, error=error)
