"""From texts and the bytes of pictures to vectors."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE
from services.embedder.batching.batcher import Batcher
from services.embedder.batching.cache import EmbeddedItem, EmbeddingCache, Key
from services.embedder.batching.lines import Lane
from services.embedder.batching.room import Room
from services.embedder.config import EmbedderSettings
from services.embedder.models.model import EmbeddingModel, Item, Kind, Vectors
from services.embedder.models.served import Served
from services.embedder.observation import observed
from services.embedder.shaping import Shaping
from services.runtime.deadline import within
from services.runtime.errors import InvalidArgument
from services.runtime.media import DECODERS, ImageLimits, decode_image

T = TypeVar("T")

_RESPONSE_BYTES, _ITEM_BYTES = 2**10, 64
"""What a response, and each of its embeddings, holds at most beside the vectors: names, usage, shapes, lengths."""
_PATIENT_BATCHES = 4
"""What patient callers have in line, decoded, so that batches are full; the rest of theirs waits as it came."""


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
    shaping: Shaping | None = None
    """How its vectors will travel, and must fit into a response; None where they do not."""


@dataclass(frozen=True)
class Embedded:
    """The items' vectors, in their order, and what they took."""

    vectors: tuple[Vectors, ...]
    tokens: int
    media_tokens: int


@dataclass(frozen=True, eq=False)
class _Read:
    """An item that is a text in tokens, or a picture that was not decoded yet."""

    source: Text | Media
    item: Item | None
    key: Key
    tokens: int
    """What it costs at most."""


class Embedder:
    """Embeds with the models it is given."""

    def __init__(self, settings: EmbedderSettings, batcher: Batcher) -> None:
        self._batcher = batcher
        self._cache = EmbeddingCache(settings.cache_bytes)
        self._room = Room(settings.max_queued_tokens, "tokens")
        self._patient_room = Room(_PATIENT_BATCHES * settings.max_batch_tokens, "tokens")
        self._bytes = Room(settings.max_queued_bytes)
        self._patient_turns = asyncio.Semaphore(DECODERS - 1)
        self._limits = ImageLimits(settings.max_media_bytes, settings.max_image_pixels)
        self._max_response_bytes = settings.max_message_bytes

    async def embed(self, served: Served, question: Question, *, deadline: float) -> Embedded:
        """All of the items. What takes too long by `deadline`, of the loop's clock, is refused; it ends no wait.

        Raises InvalidArgument naming the first item at fault, Overloaded, DeadlineExceeded, or Unavailable (the model
        failed).
        """
        model = served.model
        async with self._bytes.held(sum(map(_size, question.items)), patient=False):
            reads = await asyncio.to_thread(_read_all, model, question)
            if question.shaping is not None:
                self._check_response(model, reads, question.document, question.shaping)
            with observed(served.name, model.facts) as work:
                work.items, work.tokens = len(reads), sum(read.tokens for read in reads)
                known = [self._cache.get(read.key) for read in reads]
                missing = [read for read, found in zip(reads, known, strict=True) if found is None]
                self._check_in_time(model, missing, deadline)
                # Room is taken before a picture is decoded: what waits in memory is bounded, not its callers' number.
                async with self._room.held(sum(read.tokens for read in missing), patient=False):
                    made = iter(await self._make_all(model, missing, deadline))
                items = [found or next(made) for found in known]
                work.tokens = sum(item.tokens for item in items)
        return Embedded(tuple(item.vectors for item in items), work.tokens, sum(item.media_tokens for item in items))

    async def embed_item(
        self, served: Served, item: Text | Media, *, document: bool, patient: bool, deadline: float
    ) -> EmbeddedItem:
        """One item, by `deadline`, which is of the loop's clock.

        A patient caller waits for room where another is refused, and lets those others go first.

        Raises InvalidArgument naming the item's field, Overloaded, DeadlineExceeded, or Unavailable.
        """
        model = served.model
        bytes_held = nullcontext() if patient else self._bytes.held(_size(item), patient=False)
        async with within(max(deadline - asyncio.get_running_loop().time(), 0)), bytes_held:
            work = partial(_read, model, item, document=document)
            read = await (self.in_turn(work) if patient else asyncio.to_thread(work))
            if found := self._cache.get(read.key):
                return found
            room = self._patient_room if patient else self._room
            async with room.held(read.tokens, patient=patient):
                ready = partial(self._ready, model, read, patient=patient)
                return await self._make(model, read, ready, patient=patient, deadline=deadline)

    async def in_turn(self, work: Callable[[], T]) -> T:
        """What `work` returns in a thread, for patient callers: never so many at once that others find none free."""
        async with self._patient_turns:
            return await asyncio.to_thread(work)

    def _check_response(self, model: EmbeddingModel, reads: Sequence[_Read], document: bool, shaping: Shaping) -> None:
        size = _RESPONSE_BYTES
        for read in reads:
            vectors = read.tokens if model.facts.late_interaction else 1
            found = is_found(read.source, document=document)
            size += shaping.size(vectors, model.facts, found=found) + _ITEM_BYTES
        if size > self._max_response_bytes:
            raise InvalidArgument(
                f"the embeddings would take {size:,} bytes, and a message at most {self._max_response_bytes:,}: "
                "send fewer items",
                field="items",
                reason=ERROR_REASON_MESSAGE_SIZE,
            )

    def _check_in_time(self, model: EmbeddingModel, reads: Sequence[_Read], deadline: float) -> None:
        """Of all that is not being made already, before its pictures are decoded, as `Batcher.check` does."""
        unmade = {read.key: read for read in reads if not self._cache.is_making(read.key)}
        tokens: Counter[Lane] = Counter()
        for read in unmade.values():
            # Where a picture's size decides its bucket, the batcher judges it once it is decoded.
            kind, bucket = (Kind.IMAGE, None) if read.item is None else (Kind.TEXT, read.item.bucket)
            tokens[Lane(model, kind, bucket, patient=False)] += read.tokens
        for lane, of_lane in tokens.items():
            self._batcher.check(lane, of_lane, deadline)

    async def _make_all(self, model: EmbeddingModel, reads: Sequence[_Read], deadline: float) -> list[EmbeddedItem]:
        """Each goes to the model as soon as it is decoded; the first that fails ends the others. When pictures are bad,
        the first one's error is raised.
        """
        ready = [asyncio.create_task(self._ready(model, read, patient=False)) for read in reads]
        made = [
            asyncio.create_task(self._make(model, read, lambda task=task: task, patient=False, deadline=deadline))
            for read, task in zip(reads, ready, strict=True)
        ]
        try:
            return await asyncio.gather(*made)
        except InvalidArgument:
            for task in ready:
                await task
            raise
        finally:
            for task in (*ready, *made):
                task.cancel()
            await asyncio.gather(*ready, *made, return_exceptions=True)

    async def _make(
        self,
        model: EmbeddingModel,
        read: _Read,
        ready: Callable[[], Awaitable[Item]],
        *,
        patient: bool,
        deadline: float,
    ) -> EmbeddedItem:
        """`ready` is called where nobody else has made the embedding, or makes it."""

        async def make() -> EmbeddedItem:
            item = await ready()
            vectors = await self._batcher.embed(model, item, patient=patient, deadline=deadline)
            return EmbeddedItem(vectors, model.tokens(item), model.media_tokens(item))

        return await self._cache.made(read.key, make, patient=patient)

    async def _ready(self, model: EmbeddingModel, read: _Read, *, patient: bool) -> Item:
        if read.item is not None:
            return read.item
        media = read.source
        async with self._patient_turns if patient else nullcontext():
            picture = await decode_image(
                media.data,
                field=media.field,
                mime_type=media.mime_type,
                limits=self._limits,
                resize=partial(model.picture_size, field=media.field),
                resample=model.facts.resample,
                shrink_on_load=True,
            )
        return model.picture(picture.image)


def is_found(item: Text | Media, *, document: bool) -> bool:
    """Whether it is to be found, as pictures are and texts if they are documents, and does not search."""
    return document or isinstance(item, Media)


def _read_all(model: EmbeddingModel, question: Question) -> list[_Read]:
    return [_read(model, source, document=question.document) for source in question.items]


def _size(source: Text | Media) -> int:
    return len(source.text if isinstance(source, Text) else source.data)


def _read(model: EmbeddingModel, source: Text | Media, *, document: bool) -> _Read:
    """Blocks: of a picture all bytes are hashed."""
    if isinstance(source, Text):
        item = model.encode(source.text, document=document, field=source.field)
        # What the model reads: its prompts and its way to write a text are in the tokens.
        content = b"text", np.array(item.input, "<i8").tobytes()
        tokens = model.tokens(item)
    else:
        item = None
        content = b"media", source.mime_type.encode(), b"\0", source.data
        tokens = model.facts.image_tokens
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    return _Read(source, item, Key(model.facts.revision, digest.digest()), tokens)
