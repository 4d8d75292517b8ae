"""SearchService's RPCs: protos in, protos out."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

import grpc

from chiasm.v1 import errors_pb2, search_pb2, search_pb2_grpc
from services.embedder import search_convert as convert
from services.embedder.config import EmbedderSettings
from services.embedder.index.catalogue import Catalogue
from services.embedder.index.collection import Collection
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.fields import Field
from services.embedder.indexing import Document, Indexer, Refused
from services.embedder.models.served import ServedModels
from services.embedder.observation import observed
from services.embedder.searching import Searcher, matching
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import ChiasmError, InvalidArgument, Overloaded, Unimplemented
from services.runtime.paging import page_of
from services.runtime.requests import check_model, name_request
from services.runtime.tenant import tenant_of

MAX_DELETED = 1_000


class SearchServer(search_pb2_grpc.SearchServiceServicer):
    """What it is given is the service's; `catalogue` is there once the service has started."""

    catalogue: Catalogue | None = None

    def __init__(self, settings: EmbedderSettings, models: ServedModels, indexer: Indexer, searcher: Searcher) -> None:
        self._settings = settings
        self._models = models
        self._indexer = indexer
        self._searcher = searcher
        self._streams = 0

    async def CreateCollection(
        self, request: search_pb2.CreateCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.CreateCollectionResponse:
        spec = self._spec(request.collection)
        async with within(self._seconds(context)):
            collection = await self.catalogue.create(tenant_of(context), spec)
            return search_pb2.CreateCollectionResponse(collection=await self._describe(collection))

    async def GetCollection(
        self, request: search_pb2.GetCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.GetCollectionResponse:
        async with within(self._seconds(context)):
            collection = await self._collection(context, request.name, "name")
            return search_pb2.GetCollectionResponse(collection=await self._describe(collection))

    async def ListCollections(
        self, request: search_pb2.ListCollectionsRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.ListCollectionsResponse:
        async with within(self._seconds(context)):
            specs = await self.catalogue.list(tenant_of(context))
        page, token = page_of(request, specs)
        staleness_s = self._settings.max_staleness_s
        return search_pb2.ListCollectionsResponse(
            collections=[convert.collection_to_proto(spec, max_staleness_s=staleness_s) for spec in page],
            next_page_token=token,
        )

    async def DeleteCollection(
        self, request: search_pb2.DeleteCollectionRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.DeleteCollectionResponse:
        name = convert.collection_name(request.name, "name")
        async with within(self._seconds(context)):
            await self.catalogue.delete(tenant_of(context), name)
        return search_pb2.DeleteCollectionResponse()

    async def Index(
        self, requests: AsyncIterator[search_pb2.IndexRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[search_pb2.IndexResponse]:
        with self._one_more_stream():
            async with within(self._settings.default_timeout_s):
                first = await anext(requests, search_pb2.IndexRequest())
                collection = await self._collection(context, first.collection, "collection")
            spec = collection.spec
            served = matching(self._models, spec.model, spec.revision)
            documents = _documents(first, requests, spec.fields)
            with observed(served.name, served.model.facts) as work:
                async with aclosing(self._indexer.index(served, collection, documents)) as outcomes:
                    async for outcome in outcomes:
                        work.items += outcome.entries
                        work.tokens += outcome.tokens
                        yield convert.outcome_to_proto(outcome)

    async def DeleteDocuments(
        self, request: search_pb2.DeleteDocumentsRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.DeleteDocumentsResponse:
        if not 1 <= len(request.document_ids) <= MAX_DELETED:
            raise InvalidArgument(f"1 to {MAX_DELETED:,} are taken", field="document_ids")
        for i, document_id in enumerate(request.document_ids):
            convert.check_id(document_id, f"document_ids[{i}]")
        async with within(self._seconds(context)):
            collection = await self._collection(context, request.collection, "collection")
            removed = await collection.remove(list(request.document_ids))
        return search_pb2.DeleteDocumentsResponse(deleted_count=removed)

    async def Search(
        self, request: search_pb2.SearchRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.SearchResponse:
        seconds = self._seconds(context)
        question = convert.question_from_proto(request)
        request_id = name_request(request)
        deadline = asyncio.get_running_loop().time() + seconds
        async with within(seconds):
            collection = await self._collection(context, request.collection, "collection")
            found = await self._searcher.search(collection, question, deadline)
            response = await asyncio.to_thread(convert.found_to_proto, found, request_id)
        if (size := response.ByteSize()) > self._settings.max_message_bytes:
            raise InvalidArgument(
                f"the hits take {size:,} bytes, a message at most {self._settings.max_message_bytes:,}: ask for fewer",
                field="limit",
                reason=errors_pb2.ERROR_REASON_MESSAGE_SIZE,
            )
        return response

    async def Ask(self, request: search_pb2.AskRequest, context: grpc.aio.ServicerContext) -> search_pb2.AskResponse:
        raise Unimplemented("the gateway answers questions from what is found: ask it")

    def _spec(self, proto: search_pb2.Collection) -> CollectionSpec:
        name = convert.collection_name(proto.name, "collection.name")
        check_model(proto.model, "collection.model")
        served = self._models.choose(proto.model, "collection.model")
        facts = served.model.facts
        if proto.revision not in ("", facts.revision):
            matching(self._models, served.name, proto.revision)
        return CollectionSpec(
            name=name,
            model=served.name,
            revision=facts.revision,
            dimensions=facts.dimensions,
            late_interaction=facts.late_interaction,
            precision=convert.precision_from_proto(proto.precision, late_interaction=facts.late_interaction),
            pool_factor=convert.pool_factor_from_proto(proto.pool_factor, late_interaction=facts.late_interaction),
            fields=convert.fields_from_proto(proto.fields),
            created=datetime.now(UTC),
        )

    async def _collection(self, context: grpc.aio.ServicerContext, name: str, field: str) -> Collection:
        return await self.catalogue.get(tenant_of(context), convert.collection_name(name, field))

    async def _describe(self, collection: Collection) -> search_pb2.Collection:
        return convert.collection_to_proto(
            collection.spec, max_staleness_s=self._settings.max_staleness_s, state=await collection.state()
        )

    @contextmanager
    def _one_more_stream(self) -> Iterator[None]:
        if self._streams >= self._settings.max_index_streams:
            raise Overloaded(f"{self._streams} streams of documents are taken at once, and as many are here")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def _seconds(self, context: grpc.aio.ServicerContext) -> float:
        return remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)


async def _documents(
    first: search_pb2.IndexRequest, requests: AsyncIterator[search_pb2.IndexRequest], fields: Sequence[Field]
) -> AsyncIterator[Document | Refused]:
    """Raises InvalidArgument where a message is none of a stream of documents."""
    request, is_first = first, True
    while request is not None:
        if not is_first and (request.collection or not request.HasField("document")):
            raise InvalidArgument("after the first message each is a document, and nothing else", field="document")
        if request.HasField("document"):
            try:
                yield convert.document_from_proto(request.document, fields)
            except ChiasmError as error:
                yield Refused(request.document.id, error)
        request, is_first = await anext(requests, None), False
