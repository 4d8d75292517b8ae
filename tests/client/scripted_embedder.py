"""An embedder that says what a test tells it to, over real sockets; it keeps documents by id, and embeds none."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import DEADLINE_EXCEEDED, INVALID_ARGUMENT
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from chiasm.v1 import classification_pb2, embedding_pb2, media_pb2, models_pb2, search_pb2, usage_pb2
from chiasm.v1.classification_pb2_grpc import (
    ClassificationServiceServicer,
    add_ClassificationServiceServicer_to_server,
)
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceServicer, add_EmbeddingServiceServicer_to_server
from chiasm.v1.models_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from chiasm.v1.search_pb2_grpc import SearchServiceServicer, add_SearchServiceServicer_to_server
from tests.client.scripted import fail, two_embeddings, vectors

Context = grpc.aio.ServicerContext
USAGE = usage_pb2.Usage(input_tokens=9)


class ScriptedEmbedder(
    EmbeddingServiceServicer, SearchServiceServicer, ClassificationServiceServicer, ModelServiceServicer
):
    """Keeps what it was asked. A document or an item whose bytes or text is `bad` is at fault."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.remaining_s: list[float] = []
        self.models = [models_pb2.Model(name="models/tiny-siglip", ready=True)]
        self.collections: dict[str, search_pb2.Collection] = {}
        self.documents: dict[str, dict[str, search_pb2.Document]] = {}
        self.late: set[str] = set()
        """Documents that are never done in time."""
        self.hits: list[search_pb2.Hit] = []
        self.before: Callable[[Context], Awaitable[None]] = _nothing
        """Awaited as each call begins."""
        self.before_each: Callable[[Context], Awaitable[None]] = _nothing
        """Awaited before each answer of a stream."""

    async def Embed(self, request: embedding_pb2.EmbedRequest, context: Context) -> embedding_pb2.EmbedResponse:
        await self._note(request, context)
        return await two_embeddings(context)

    async def EmbedStream(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest], context: Context
    ) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
        await self._note(None, context)
        index = 0
        async for request in requests:
            self.requests.append(request)
            if not request.HasField("item"):
                continue
            await self.before_each(context)
            bad = b"bad" in (request.item.media.data, request.item.text.encode())
            response = embedding_pb2.EmbedStreamResponse(index=index, usage=USAGE)
            if bad:
                response.error.CopyFrom(fault("item.media.data"))
            else:
                response.embedding.CopyFrom(vectors([1.0, 0.0], 2))
            if index == 0:
                response.model, response.revision, response.request_id = "models/tiny-siglip", "abc", "stream-1"
            yield response
            index += 1

    async def Classify(
        self, request: classification_pb2.ClassifyRequest, context: Context
    ) -> classification_pb2.ClassifyResponse:
        await self._note(request, context)
        scores = [
            classification_pb2.LabelScore(label=label, probability=0.9 / (place + 1), similarity=0.5)
            for place, label in enumerate(request.labels)
        ]
        return classification_pb2.ClassifyResponse(
            scores=scores,
            model="models/tiny-siglip",
            revision="abc",
            mode=classification_pb2.LABEL_MODE_INDEPENDENT,
            usage=USAGE,
            request_id=request.request_id or "request-1",
        )

    async def CreateCollection(
        self, request: search_pb2.CreateCollectionRequest, context: Context
    ) -> search_pb2.CreateCollectionResponse:
        await self._note(request, context)
        made = search_pb2.Collection()
        made.CopyFrom(request.collection)
        made.model, made.revision = made.model or "models/tiny-siglip", "abc"
        made.form, made.precision = models_pb2.EMBEDDING_FORM_SINGLE_VECTOR, search_pb2.PRECISION_FLOAT32
        made.max_staleness.FromSeconds(5)
        made.create_time.FromSeconds(1_700_000_000)
        self.collections.setdefault(made.name, made)
        return search_pb2.CreateCollectionResponse(collection=made)

    async def GetCollection(
        self, request: search_pb2.GetCollectionRequest, context: Context
    ) -> search_pb2.GetCollectionResponse:
        await self._note(request, context)
        if request.name not in self.collections:
            await fail(context, grpc.StatusCode.NOT_FOUND, f"there is no {request.name}", "COLLECTION_NOT_FOUND")
        collection = self.collections[request.name]
        collection.document_count = collection.entry_count = len(self.documents.get(request.name, {}))
        collection.index.unindexed_entries = collection.entry_count
        return search_pb2.GetCollectionResponse(collection=collection)

    async def ListCollections(
        self, request: search_pb2.ListCollectionsRequest, context: Context
    ) -> search_pb2.ListCollectionsResponse:
        """One a page."""
        await self._note(request, context)
        names = sorted(self.collections)
        page = int(request.page_token or 0)
        more = page + 1 < len(names)
        found = [self.collections[name] for name in names[page : page + 1]]
        return search_pb2.ListCollectionsResponse(collections=found, next_page_token=str(page + 1) if more else "")

    async def DeleteCollection(
        self, request: search_pb2.DeleteCollectionRequest, context: Context
    ) -> search_pb2.DeleteCollectionResponse:
        await self._note(request, context)
        if self.collections.pop(request.name, None) is None:
            await fail(context, grpc.StatusCode.NOT_FOUND, f"there is no {request.name}", "COLLECTION_NOT_FOUND")
        return search_pb2.DeleteCollectionResponse()

    async def Index(
        self, requests: AsyncIterator[search_pb2.IndexRequest], context: Context
    ) -> AsyncIterator[search_pb2.IndexResponse]:
        await self._note(None, context)
        index, kept = 0, {}
        async for request in requests:
            self.requests.append(request)
            if request.collection:
                kept = self.documents.setdefault(request.collection, {})
            if not request.HasField("document"):
                continue
            await self.before_each(context)
            document = request.document
            response = search_pb2.IndexResponse(document_id=document.id, index=index)
            if b"bad" in (document.media.data, document.text.encode()):
                response.error.CopyFrom(fault("document.media.data"))
            elif document.id in self.late:
                response.error.Pack(Status(code=DEADLINE_EXCEEDED, message="not done in time"))
            else:
                response.indexed.entry_count = 1
                response.indexed.unchanged = kept.get(document.id) == document
                kept[document.id] = document
            yield response
            index += 1

    async def DeleteDocuments(
        self, request: search_pb2.DeleteDocumentsRequest, context: Context
    ) -> search_pb2.DeleteDocumentsResponse:
        await self._note(request, context)
        kept = self.documents.get(request.collection, {})
        deleted = [kept.pop(name) for name in request.document_ids if name in kept]
        return search_pb2.DeleteDocumentsResponse(deleted_count=len(deleted))

    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchResponse:
        await self._note(request, context)
        return search_pb2.SearchResponse(
            hits=self.hits[: request.limit or 10],
            model="models/tiny-siglip",
            revision="abc",
            usage=USAGE,
            request_id=request.request_id or "request-1",
        )

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=self.models)

    async def _note(self, request: Message | None, context: Context) -> None:
        if request is not None:
            self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.remaining_s.append(context.time_remaining())
        await self.before(context)


async def _nothing(context: Context) -> None:
    return


@asynccontextmanager
async def serving_embedder(embedder: ScriptedEmbedder | None = None) -> AsyncIterator[ScriptedEmbedder]:
    """On a free port; a new one where none is given."""
    embedder, server = embedder or ScriptedEmbedder(), grpc.aio.server()
    for add in (
        add_EmbeddingServiceServicer_to_server,
        add_SearchServiceServicer_to_server,
        add_ClassificationServiceServicer_to_server,
        add_ModelServiceServicer_to_server,
    ):
        add(embedder, server)
    embedder.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield embedder
    finally:
        await server.stop(None)


def fault(field: str) -> AnyMessage:
    """What a bad picture is answered with."""
    status = Status(code=INVALID_ARGUMENT, message="cannot be read")
    for detail in (
        ErrorInfo(reason="MEDIA_CORRUPT", domain="chiasm"),
        BadRequest(field_violations=[BadRequest.FieldViolation(field=field)]),
    ):
        status.details.add().Pack(detail)
    packed = AnyMessage()
    packed.Pack(status)
    return packed


def hit(document_id: str, score: float = 0.5, *, text: str = "", picture: bytes = b"", page: int = 0) -> search_pb2.Hit:
    """Something found."""
    found = search_pb2.Hit(document_id=document_id, score=score, text=text)
    if page:
        found.page = page
    if picture:
        found.picture.CopyFrom(media_pb2.Media(data=picture, mime_type="image/jpeg"))
        found.size.CopyFrom(media_pb2.Size(width=224, height=224))
    return found


def moment(found: search_pb2.Hit, start_s: int, end_s: int) -> search_pb2.Hit:
    """The same as a part of a film."""
    found.moment.CopyFrom(search_pb2.Moment(start=Duration(seconds=start_s), end=Duration(seconds=end_s)))
    return found
