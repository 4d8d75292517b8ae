"""Documents on their way into a collection: taken apart, embedded, stored."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from weakref import WeakValueDictionary

import numpy as np

from services.embedder.batching.room import Room
from services.embedder.documents.documents import Documents
from services.embedder.documents.part import Part
from services.embedder.embedding import Embedder, Media, Text
from services.embedder.index.collection import Collection
from services.embedder.index.entries import CollectionSpec, Entry, EntryKind
from services.embedder.index.fields import MetadataValue
from services.embedder.models.served import Served
from services.embedder.vectors.pooling import pool
from services.embedder.vectors.precision import Precision
from services.runtime.deadline import within
from services.runtime.windowed import windowed

_FORMAT = 1
"""Of what is stored of a document; to be raised when the same file would be taken apart otherwise."""

_MAX_HELD_BYTES = 2**30
"""Of the entries that all documents at work are made into, as `_EntryMaker.held_bytes` counts them."""
_PAGE_BYTES = 2**18
"""Of a page's JPEG and text; few have more."""


@dataclass(frozen=True)
class Document:
    """Something to be found."""

    id: str
    content: Text | Media
    caption: str
    metadata: Mapping[str, MetadataValue]


@dataclass(frozen=True)
class Refused:
    """A document at fault, which is answered and passed over."""

    id: str
    error: Exception


@dataclass(frozen=True)
class Outcome:
    """What became of the document that is number `index` of its stream, from 0."""

    document_id: str
    index: int
    entries: int = 0
    unchanged: bool = False
    tokens: int = 0
    """That embedding it took."""
    error: Exception | None = None


class Indexer:
    """Has a few documents of each stream at work at once, and bounds what those of all streams hold together."""

    def __init__(
        self, embedder: Embedder, documents: Documents, *, at_once: int, max_bytes: int, timeout_s: float
    ) -> None:
        """`at_once` documents of a stream, or parts of a document, 1 or more, and `max_bytes` of a stream's documents;
        `timeout_s` is for each step of a document: to look for it, to embed a part, to store it whole.
        """
        self._embedder = embedder
        self._documents = documents
        self._at_once = at_once
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._entries_room = Room(_MAX_HELD_BYTES)

    async def index(
        self, served: Served, collection: Collection, documents: AsyncIterator[Document | Refused]
    ) -> AsyncIterator[Outcome]:
        """One a document, in any order. Of documents of one id, the one that comes last is stored last.

        Raises what is no single document's fault: what `documents` raises.
        """
        room = Room(self._max_bytes)
        turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

        async def numbered() -> AsyncIterator[tuple[int, Document | Refused]]:
            index = 0
            async for document in documents:
                await room.enter(_size(document))
                yield index, document
                index += 1

        async def work(numbered: tuple[int, Document | Refused]) -> Outcome:
            index, document = numbered
            try:
                if isinstance(document, Refused):
                    raise document.error
                async with turns.setdefault(document.id, asyncio.Lock()):  # its waiters come as they began to wait
                    return await self._store(served, collection, document, index)
            except Exception as error:  # noqa: BLE001 - it is the document's answer
                return Outcome(document.id, index, error=error)
            finally:
                room.leave(_size(document))

        async with aclosing(windowed(numbered(), work, at_once=self._at_once)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _store(self, served: Served, collection: Collection, document: Document, index: int) -> Outcome:
        digest = await self._embedder.in_turn(partial(_digest, document))
        async with within(self._timeout_s):
            there = (await collection.digests([document.id])).get(document.id)
        if there is not None and there[0] == digest:
            return Outcome(document.id, index, entries=there[1], unchanged=True)
        maker = _EntryMaker(served, collection.spec, document, digest, self._embedder, self._timeout_s)
        # Each part's time is bounded, not the document's: the pages of a long one may take hours, one after the other.
        async with (
            self._first(document) as (first, rest),
            self._entries_room.held(maker.held_bytes(first), patient=True),
        ):
            made = windowed(_all(first, rest), maker.entry, at_once=self._at_once)
            async with aclosing(made) as entries:
                pairs = sorted([pair async for pair in entries], key=lambda pair: pair[0].part)
            async with within(self._timeout_s):
                await collection.put([[entry for entry, _ in pairs]])
        return Outcome(document.id, index, entries=len(pairs), tokens=sum(tokens for _, tokens in pairs))

    @asynccontextmanager
    async def _first(self, document: Document) -> AsyncIterator[tuple[Text | Part, AsyncIterator[Part]]]:
        """Its first part, and the rest: a file stands in line for who takes it apart, which is nobody's time."""
        content = document.content
        if isinstance(content, Text):
            yield content, _nothing()
            return
        parts = self._documents.parts(content.data, field=content.field, mime_type=content.mime_type)
        async with aclosing(parts):
            yield await anext(parts), parts


@dataclass(frozen=True)
class _EntryMaker:
    """Makes the entries of one document."""

    served: Served
    spec: CollectionSpec
    document: Document
    digest: str
    embedder: Embedder
    timeout_s: float

    def held_bytes(self, first: Text | Part) -> int:
        """About what the document takes whose first part is `first`: all its entries, and again as rows."""
        entries = 1 if isinstance(first, Text) else first.of
        of_page = self.served.model.facts.image_tokens if self.spec.late_interaction else 1
        vectors = -(-of_page // self.spec.pool_factor)
        vector_bytes = vectors * self.spec.dimensions * self._dtype.itemsize
        return 2 * entries * (vector_bytes + _PAGE_BYTES + len(self.document.caption))

    async def entry(self, part: Text | Part) -> tuple[Entry, int]:
        """Of a text or a file's part; and the tokens that embedding it took."""
        item = part if isinstance(part, Text) else Media(part.picture, self.document.content.field, "")
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        embedded = await self.embedder.embed_item(self.served, item, document=True, patient=True, deadline=deadline)
        vectors = embedded.vectors
        if self.spec.pool_factor > 1:
            vectors = await self.embedder.in_turn(partial(pool, vectors, self.spec.pool_factor))
        facts = _facts_of_text() if isinstance(part, Text) else _facts_of_part(part)
        entry = Entry(
            document_id=self.document.id,
            digest=self.digest,
            text="\n".join(filter(None, (part.text, self.document.caption))),
            metadata=self.document.metadata,
            vectors=vectors.astype(self._dtype, copy=False),
            **facts,
        )
        return entry, embedded.tokens

    @property
    def _dtype(self) -> np.dtype:
        """Of numbers while they wait: in no more bits than the collection needs."""
        return np.dtype(np.float32 if self.spec.precision is Precision.FLOAT32 else np.float16)


def _facts_of_text() -> dict[str, object]:
    nothing = dict.fromkeys(("page", "start_s", "end_s", "picture"))
    return {"part": 0, "kind": EntryKind.TEXT, "width": 0, "height": 0} | nothing


def _facts_of_part(part: Part) -> dict[str, object]:
    return {
        "part": part.number,
        "kind": EntryKind(part.kind),
        "page": part.page,
        "start_s": part.start_s,
        "end_s": part.end_s,
        "picture": part.preview,
        "width": part.width,
        "height": part.height,
    }


async def _all(first: Text | Part, rest: AsyncIterator[Part]) -> AsyncIterator[Text | Part]:
    yield first
    async for part in rest:
        yield part


async def _nothing() -> AsyncIterator[Part]:
    for part in ():
        yield part


def _size(document: Document | Refused) -> int:
    if isinstance(document, Refused):
        return 0
    return len(document.content.text if isinstance(document.content, Text) else document.content.data)


def _digest(document: Document) -> str:
    """Of all that is stored of it."""
    content = document.content
    is_text = isinstance(content, Text)
    metadata = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.metadata.items()
    }
    told = json.dumps([_FORMAT, is_text, document.caption, metadata], sort_keys=True)
    whole = hashlib.sha256(told.encode())
    whole.update(hashlib.sha256(content.text.encode() if is_text else content.data).digest())
    return whole.hexdigest()
