"""One call of EmbedStream: many items, each answered by its own embedding or its own error."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from chiasm.v1 import embedding_pb2, errors_pb2
from services.embedder import convert
from services.embedder.batching.room import Room
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import EmbeddedItem, Embedder, is_found
from services.embedder.models.served import Served
from services.embedder.observation import observed
from services.embedder.shaping import Shaping
from services.runtime.boundary import status_of
from services.runtime.errors import InvalidArgument
from services.runtime.requests import check_embed_item
from services.runtime.windowed import windowed

_METHOD = "chiasm.v1.EmbeddingService/EmbedStream"
_FIRST_BYTES = 2**10
"""What the first response has more than the others, at most: the names."""


class EmbeddingStream:
    """Holds at most as many items as a request may have, and as many bytes of them and their answers as a message may
    have, until the answers are taken: who does not read the responses holds up the requests.

    Args:
        first: the stream's first request, which has passed `check_embed_stream` and is named.
        deadline: of the loop's clock, for every item.
    """

    def __init__(
        self,
        embedder: Embedder,
        served: Served,
        first: embedding_pb2.EmbedStreamRequest,
        shaping: Shaping,
        deadline: float,
        settings: EmbedderSettings,
    ) -> None:
        self._embedder = embedder
        self._served = served
        self._first = first
        self._document = convert.is_document(first.text_purpose)
        self._shaping = shaping
        self._deadline = deadline
        self._at_once = settings.max_items
        self._max_bytes = settings.max_message_bytes
        self._room = Room(settings.max_message_bytes)

    async def responses(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest]
    ) -> AsyncGenerator[embedding_pb2.EmbedStreamResponse, None]:
        """As they come. Raises InvalidArgument where a message is none of such a stream; closing it ends the work."""
        facts, is_first = self._served.model.facts, True
        items = windowed(self._items(requests), self._answer, at_once=self._at_once)
        with observed(self._served.name, facts) as work:
            async with aclosing(items) as responses:
                async for response, held in responses:
                    work.items += 1
                    work.tokens += response.usage.input_tokens
                    if is_first:
                        response.model, response.revision = self._served.name, facts.revision
                        response.request_id = self._first.request_id
                        is_first = False
                    yield response
                    self._room.leave(held)

    async def _items(
        self, requests: AsyncIterator[embedding_pb2.EmbedStreamRequest]
    ) -> AsyncIterator[tuple[int, embedding_pb2.EmbedItem]]:
        """With their numbers, each when there is room for it."""
        request, index = self._first, 0
        while request is not None:
            if request is not self._first and [field.name for field, _ in request.ListFields()] != ["item"]:
                raise InvalidArgument("after the first message each is an item, and nothing else", field="item")
            if request.HasField("item"):
                await self._room.enter(self._size(request.item))
                yield index, request.item
                index += 1
            request = await anext(requests, None)

    def _size(self, item: embedding_pb2.EmbedItem) -> int:
        """Bytes of the item and, at most, its embedding. A text has hardly more tokens than it takes bytes."""
        facts, is_picture = self._served.model.facts, item.HasField("media")
        vectors = 1
        if facts.late_interaction:
            vectors = facts.image_tokens if is_picture else min(item.ByteSize(), facts.max_text_tokens)
        return item.ByteSize() + self._shaping.size(vectors, facts, found=is_picture or self._document)

    async def _answer(
        self, numbered: tuple[int, embedding_pb2.EmbedItem]
    ) -> tuple[embedding_pb2.EmbedStreamResponse, int]:
        """And what it holds of the room until it is taken."""
        index, item = numbered
        try:
            response = await self._embedded(index, item)
        except Exception as error:  # noqa: BLE001 - it is the item's answer
            response = embedding_pb2.EmbedStreamResponse(index=index)
            response.error.Pack(status_of(_METHOD, error))
        return response, self._size(item)

    async def _embedded(self, index: int, proto: embedding_pb2.EmbedItem) -> embedding_pb2.EmbedStreamResponse:
        check_embed_item(proto, "item")
        item = convert.item_from_proto(proto, "item")
        embedded: EmbeddedItem = await self._embedder.embed_item(
            self._served, item, document=self._document, patient=True, deadline=self._deadline
        )
        found = is_found(item, document=self._document)
        shaped = partial(convert.embedding_to_proto, embedded.vectors, self._shaping, found=found)
        response = embedding_pb2.EmbedStreamResponse(
            index=index,
            embedding=await self._embedder.in_turn(shaped),
            usage=convert.usage_to_proto(embedded),
        )
        if (size := response.ByteSize() + _FIRST_BYTES) > self._max_bytes:
            raise InvalidArgument(
                f"its embedding takes {size:,} bytes, and a message at most {self._max_bytes:,}",
                field="item",
                reason=errors_pb2.ERROR_REASON_MESSAGE_SIZE,
            )
        return response
