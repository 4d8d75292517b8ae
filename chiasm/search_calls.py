"""The calls of SearchService, as both clients have them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from chiasm import search_convert as convert
from chiasm.channel import Caller
from chiasm.errors import rpc_errors
from chiasm.images import image_source
from chiasm.item_streams import STREAM_S, Feed, streamed, streamed_async
from chiasm.options import Options
from chiasm.search import (
    CitedAnswer,
    Collection,
    Document,
    FieldType,
    Filter,
    Indexed,
    Precision,
    SearchMode,
    SearchResult,
)
from chiasm.v1 import search_pb2
from chiasm.v1.search_pb2_grpc import SearchServiceStub

if TYPE_CHECKING:
    from chiasm.images import ImageLike


class Query(TypedDict, total=False):
    """How to search. What is left out takes the server's default."""

    image_weight: float
    """How much the picture counts where the query is text and picture, 0 to 1."""
    mode: SearchMode
    limit: int
    """Most hits, 1 to 1,000; with pictures or explained 1 to 100; of a question 1 to 16."""
    where: Filter
    """Which documents may be found."""
    exact: bool
    """Compare with every entry instead of asking the index."""
    with_picture: bool
    """Whether hits have their picture."""
    explain: bool
    """Whether hits say which part of the page each word matched: late interaction alone."""
    model: str
    """The model that the collection is believed to have; FailedPrecondition where it has another."""
    revision: str
    request_id: str


class SearchCalls(Caller):
    """Collections and what is found in them. Every method raises a ChiasmError when the call fails.

    A collection is named `NAME` or `collections/NAME`.
    """

    _search: SearchServiceStub

    def create_collection(
        self,
        name: str,
        *,
        model: str = "",
        revision: str = "",
        precision: Precision = Precision.UNSPECIFIED,
        pool_factor: int = 1,
        fields: Mapping[str, FieldType] | None = None,
        timeout_s: float | None = None,
    ) -> Collection:
        """An empty one, or the same that is there already. Raises AlreadyExists where another has the name."""
        request = _create_request(name, model, revision, precision, pool_factor, fields)
        with rpc_errors():
            return convert.collection(self._search.CreateCollection(request, **self._options(timeout_s)).collection)

    def get_collection(self, name: str, *, timeout_s: float | None = None) -> Collection:
        """One collection, with its counts. Raises NotFound where there is none."""
        request = search_pb2.GetCollectionRequest(name=convert.collection_name(name))
        with rpc_errors():
            return convert.collection(self._search.GetCollection(request, **self._options(timeout_s)).collection)

    def list_collections(self, *, timeout_s: float | None = None) -> list[Collection]:
        """All of them by name, without counts; `timeout_s` is for each page."""
        found, request = [], search_pb2.ListCollectionsRequest()
        while True:
            with rpc_errors():
                page = self._search.ListCollections(request, **self._options(timeout_s))
            found += map(convert.collection, page.collections)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Removes it and all that is in it. Raises NotFound where there is none."""
        request = search_pb2.DeleteCollectionRequest(name=convert.collection_name(name))
        with rpc_errors():
            self._search.DeleteCollection(request, **self._options(timeout_s))

    def index(self, collection: str, documents: Iterable[Document], *, stream_s: float = STREAM_S) -> Iterator[Indexed]:
        """What becomes of each document, in any order: stored for good, or at fault, which does not harm the others.

        `documents` are read as fast as the server takes them, in another thread, a file when it is its turn. They go
        through as many streams as it takes, of `stream_s` seconds at most each. Who is interrupted begins again:
        documents that are stored are answered at once.
        """
        return streamed(self._search.Index, documents, _feed(collection, stream_s), self._metadata())

    def delete_documents(self, collection: str, document_ids: Sequence[str], *, timeout_s: float | None = None) -> int:
        """Removes at most 1,000 documents, and says how many there were."""
        request = _delete_request(collection, document_ids)
        with rpc_errors():
            return self._search.DeleteDocuments(request, **self._options(timeout_s)).deleted_count

    def search(
        self,
        collection: str,
        text: str = "",
        image: "ImageLike | None" = None,
        *,
        timeout_s: float | None = None,
        **query: Unpack[Query],
    ) -> SearchResult:
        """What is most like a text, a picture, or both, best first.

        Tried again, at most three times, while no server is available. Raises OSError when a file cannot be read.
        """
        picture = None if image is None else image_source(image)
        request = convert.search_request(collection, text, picture, **query)
        with rpc_errors():
            return convert.search_result(self._search.Search(request, **self._options(timeout_s)))

    def ask_collection(
        self,
        collection: str,
        question: str,
        image: "ImageLike | None" = None,
        *,
        query: str = "",
        search: Query | None = None,
        **options: Unpack[Options],
    ) -> CitedAnswer:
        """Answers a question from what is found, with its sources: at a gateway alone.

        `query` finds what is read, where it is other than the question; `search` says how. Raises OSError when a file
        cannot be read.
        """
        timeout_s = options.pop("timeout_s", None)
        picture = None if image is None else image_source(image)
        found = convert.search_request(collection, query or question, picture, **(search or {}))
        request = convert.ask_request(found, question, options)
        with rpc_errors():
            return convert.cited_answer(self._search.Ask(request, **self._options(timeout_s)))


class AsyncSearchCalls(Caller):
    """Collections and what is found in them. Every method raises a ChiasmError when the call fails.

    A collection is named `NAME` or `collections/NAME`.
    """

    _search: SearchServiceStub

    async def create_collection(
        self,
        name: str,
        *,
        model: str = "",
        revision: str = "",
        precision: Precision = Precision.UNSPECIFIED,
        pool_factor: int = 1,
        fields: Mapping[str, FieldType] | None = None,
        timeout_s: float | None = None,
    ) -> Collection:
        """An empty one, or the same that is there already. Raises AlreadyExists where another has the name."""
        request = _create_request(name, model, revision, precision, pool_factor, fields)
        with rpc_errors():
            response = await self._search.CreateCollection(request, **self._options(timeout_s))
        return convert.collection(response.collection)

    async def get_collection(self, name: str, *, timeout_s: float | None = None) -> Collection:
        """One collection, with its counts. Raises NotFound where there is none."""
        request = search_pb2.GetCollectionRequest(name=convert.collection_name(name))
        with rpc_errors():
            response = await self._search.GetCollection(request, **self._options(timeout_s))
        return convert.collection(response.collection)

    async def list_collections(self, *, timeout_s: float | None = None) -> list[Collection]:
        """All of them by name, without counts; `timeout_s` is for each page."""
        found, request = [], search_pb2.ListCollectionsRequest()
        while True:
            with rpc_errors():
                page = await self._search.ListCollections(request, **self._options(timeout_s))
            found += map(convert.collection, page.collections)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Removes it and all that is in it. Raises NotFound where there is none."""
        request = search_pb2.DeleteCollectionRequest(name=convert.collection_name(name))
        with rpc_errors():
            await self._search.DeleteCollection(request, **self._options(timeout_s))

    def index(
        self,
        collection: str,
        documents: AsyncIterable[Document] | Iterable[Document],
        *,
        stream_s: float = STREAM_S,
    ) -> AsyncIterator[Indexed]:
        """What becomes of each document, in any order: stored for good, or at fault, which does not harm the others.

        `documents` are read as fast as the server takes them, a file when it is its turn. They go through as many
        streams as it takes, of `stream_s` seconds at most each. Who is interrupted begins again: documents that are
        stored are answered at once.
        """
        return streamed_async(self._search.Index, documents, _feed(collection, stream_s), self._metadata())

    async def delete_documents(
        self, collection: str, document_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> int:
        """Removes at most 1,000 documents, and says how many there were."""
        request = _delete_request(collection, document_ids)
        with rpc_errors():
            return (await self._search.DeleteDocuments(request, **self._options(timeout_s))).deleted_count

    async def search(
        self,
        collection: str,
        text: str = "",
        image: "ImageLike | None" = None,
        *,
        timeout_s: float | None = None,
        **query: Unpack[Query],
    ) -> SearchResult:
        """What is most like a text, a picture, or both, best first.

        Tried again, at most three times, while no server is available. Raises OSError when a file cannot be read.
        """
        picture = None if image is None else await asyncio.to_thread(image_source, image)
        request = convert.search_request(collection, text, picture, **query)
        with rpc_errors():
            return convert.search_result(await self._search.Search(request, **self._options(timeout_s)))

    async def ask_collection(
        self,
        collection: str,
        question: str,
        image: "ImageLike | None" = None,
        *,
        query: str = "",
        search: Query | None = None,
        **options: Unpack[Options],
    ) -> CitedAnswer:
        """Answers a question from what is found, with its sources: at a gateway alone.

        `query` finds what is read, where it is other than the question; `search` says how. Raises OSError when a file
        cannot be read.
        """
        timeout_s = options.pop("timeout_s", None)
        picture = None if image is None else await asyncio.to_thread(image_source, image)
        found = convert.search_request(collection, query or question, picture, **(search or {}))
        request = convert.ask_request(found, question, options)
        with rpc_errors():
            return convert.cited_answer(await self._search.Ask(request, **self._options(timeout_s)))


def _feed(collection: str, stream_s: float) -> Feed[Document, Indexed]:
    first = convert.index_start(collection)
    return Feed(first, convert.index_request, convert.indexed, convert.not_indexed, stream_s=stream_s)


def _create_request(
    name: str,
    model: str,
    revision: str,
    precision: Precision,
    pool_factor: int,
    fields: Mapping[str, FieldType] | None,
) -> search_pb2.CreateCollectionRequest:
    return convert.create_request(
        name, model=model, revision=revision, precision=precision, pool_factor=pool_factor, fields=fields or {}
    )


def _delete_request(collection: str, document_ids: Sequence[str]) -> search_pb2.DeleteDocumentsRequest:
    return search_pb2.DeleteDocumentsRequest(collection=convert.collection_name(collection), document_ids=document_ids)
