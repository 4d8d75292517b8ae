"""From texts and the bytes of pictures to vectors."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE
from services.embedder.batching.batcher import Batcher
from services.embedder.config import EmbedderSettings
from services.embedder.models.model import EmbeddingModel, Item, Kind, Vectors
from services.embedder.observation import observed
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits, decode_image

_RESPONSE_BYTES, _ITEM_BYTES = 2**10, 64
"""What a response, and each of its embeddings, holds at most beside the vectors: names, usage, shapes, lengths."""


@dataclass(frozen=True)
class Text:
    """`field` names where it stood in the request."""

    text: str
    field: str


@dataclass(frozen=True)
class Media:
    """A picture file; `field` names where it stood in the request."""

    data: bytes
    field: str
    mime_type: str


@dataclass(frozen=True)
class Question:
    """What to embed with the model named `model` (`models/NAME`)."""

    model: str
    items: tuple[Text | Media, ...]
    document: bool
    """Whether its texts are to be found, and no questions."""


@dataclass(frozen=True)
class Embedded:
    """The items' vectors, in their order, and what they took."""

    vectors: tuple[Vectors, ...]
    tokens: int
    media_tokens: int


class Embedder:
    """Embeds with the models it is given."""

    def __init__(self, settings: EmbedderSettings, batcher: Batcher) -> None:
        self._batcher = batcher
        self._limits = ImageLimits(settings.max_media_bytes, settings.max_image_pixels)
        self._max_response_bytes = settings.max_message_bytes

    async def embed(self, model: EmbeddingModel, question: Question) -> Embedded:
        """Raises InvalidArgument naming the first item at fault, Overloaded, or Unavailable (the model failed)."""
        texts = await asyncio.to_thread(_encode, model, question)
        pictures = sum(isinstance(item, Media) for item in question.items)
        facts = model.facts
        tokens = sum(model.tokens(text) for text in texts.values()) + pictures * facts.image_tokens
        self._check_response(model, tokens, len(question.items))
        # Room is taken before a picture is decoded: what waits in memory is bounded, not its number of callers.
        with (
            observed(question.model, facts, items=len(question.items), tokens=tokens),
            self._batcher.room(tokens),
        ):
            items = await self._decode(model, question, texts)
            vectors = await self._batcher.embed(model, items)
        return Embedded(tuple(vectors), tokens, pictures * facts.media_tokens)

    def _check_response(self, model: EmbeddingModel, tokens: int, items: int) -> None:
        facts = model.facts
        vectors = tokens if facts.late_interaction else items
        size = 4 * facts.dimensions * vectors + _ITEM_BYTES * items + _RESPONSE_BYTES
        if size > self._max_response_bytes:
            raise InvalidArgument(
                f"the embeddings would take {size:,} bytes, and a message at most {self._max_response_bytes:,}: "
                "send fewer items",
                field="items",
                reason=ERROR_REASON_MESSAGE_SIZE,
            )

    async def _decode(self, model: EmbeddingModel, question: Question, texts: dict[int, Item]) -> Sequence[Item]:
        """All items ready for the model. When pictures are bad, the first one's error is raised."""
        decoded = await asyncio.gather(
            *(self._picture(model, item) for item in question.items if isinstance(item, Media)), return_exceptions=True
        )
        for picture in decoded:
            if isinstance(picture, BaseException):
                raise picture
        pictures = iter(decoded)
        return [texts[i] if i in texts else next(pictures) for i in range(len(question.items))]

    async def _picture(self, model: EmbeddingModel, media: Media) -> Item:
        side = model.facts.image_size
        picture = await decode_image(
            media.data,
            field=media.field,
            mime_type=media.mime_type,
            limits=self._limits,
            resize=(side, side),
            resample=model.facts.resample,
        )
        return Item(Kind.IMAGE, picture.image)


def _encode(model: EmbeddingModel, question: Question) -> dict[int, Item]:
    """The texts among the items, by their place."""
    return {
        i: model.encode(item.text, document=question.document, field=item.field)
        for i, item in enumerate(question.items)
        if isinstance(item, Text)
    }
