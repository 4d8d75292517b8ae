"""A SearchService's calls, as short as tests want them."""

from collections.abc import AsyncIterator, Iterable, Sequence

import grpc

from chiasm.v1 import media_pb2, search_pb2, search_pb2_grpc

Value = search_pb2.Value


def picture(document_id: str, data: bytes, caption: str = "", **metadata: Value) -> search_pb2.Document:
    return search_pb2.Document(id=document_id, media=media_pb2.Media(data=data), caption=caption, metadata=metadata)


def condition(field: str, comparison: str, *values: Value) -> search_pb2.AnyOf:
    """A clause of one condition; `comparison` as `IN`."""
    number = search_pb2.Comparison.Value(f"COMPARISON_{comparison}")
    return search_pb2.AnyOf(conditions=[search_pb2.Condition(field=field, comparison=number, values=values)])


class Search:
    """One collection's calls."""

    def __init__(self, channel: grpc.aio.Channel, tenant: str = "acme") -> None:
        self.stub = search_pb2_grpc.SearchServiceStub(channel)
        self.name = "collections/things"
        self._channel = channel
        self._metadata = (("chiasm-tenant", tenant),)

    def of(self, tenant: str) -> "Search":
        """The same of another tenant."""
        return Search(self._channel, tenant)

    async def create(self, **collection: object) -> search_pb2.Collection:
        request = search_pb2.CreateCollectionRequest(collection=search_pb2.Collection(name=self.name, **collection))
        return (await self.stub.CreateCollection(request, metadata=self._metadata, timeout=60)).collection

    async def get(self) -> search_pb2.Collection:
        request = search_pb2.GetCollectionRequest(name=self.name)
        return (await self.stub.GetCollection(request, metadata=self._metadata, timeout=60)).collection

    async def names(self) -> list[str]:
        response = await self.stub.ListCollections(
            search_pb2.ListCollectionsRequest(), metadata=self._metadata, timeout=60
        )
        return [collection.name for collection in response.collections]

    async def delete(self) -> None:
        request = search_pb2.DeleteCollectionRequest(name=self.name)
        await self.stub.DeleteCollection(request, metadata=self._metadata, timeout=60)

    async def index(self, documents: Iterable[search_pb2.Document]) -> list[search_pb2.IndexResponse]:
        """The responses, in the documents' order."""

        async def requests() -> AsyncIterator[search_pb2.IndexRequest]:
            yield search_pb2.IndexRequest(collection=self.name)
            for document in documents:
                yield search_pb2.IndexRequest(document=document)

        call = self.stub.Index(requests(), metadata=self._metadata, timeout=120)
        return sorted([response async for response in call], key=lambda response: response.index)

    async def remove(self, *document_ids: str) -> int:
        request = search_pb2.DeleteDocumentsRequest(collection=self.name, document_ids=document_ids)
        return (await self.stub.DeleteDocuments(request, metadata=self._metadata, timeout=60)).deleted_count

    async def search(
        self, text: str = "", *, clauses: Sequence[search_pb2.AnyOf] = (), **request: object
    ) -> search_pb2.SearchResponse:
        asked = search_pb2.SearchRequest(
            collection=self.name, text=text, filter=search_pb2.Filter(clauses=clauses), **request
        )
        return await self.stub.Search(asked, metadata=self._metadata, timeout=60)
