"""Embeddings that were made before, and those being made: nothing is computed twice at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cachetools import LRUCache

from services.embedder.models.model import Vectors
from services.embedder.observation import looked

OVERHEAD_BYTES = 512
"""Of an entry's own objects, beside its numbers."""


@dataclass(frozen=True)
class Key:
    """An item's content, as its model reads it."""

    revision: str
    """Of the model."""
    digest: bytes


@dataclass(frozen=True, eq=False)
class EmbeddedItem:
    """An item's vectors, and what it took."""

    vectors: Vectors
    tokens: int
    media_tokens: int


class EmbeddingCache:
    """The least recently used go first; none is kept where `max_bytes` is 0."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: LRUCache[Key, EmbeddedItem] = LRUCache(max_bytes, getsizeof=_size)
        self._flights: dict[tuple[Key, bool], asyncio.Future[EmbeddedItem | None]] = {}

    def get(self, key: Key) -> EmbeddedItem | None:
        """What is kept."""
        found = self._entries.get(key)
        looked(hit=found is not None)
        return found

    def is_making(self, key: Key) -> bool:
        """Whether `made` makes it now, for those who are not patient."""
        return (key, False) in self._flights

    async def made(self, key: Key, make: Callable[[], Awaitable[EmbeddedItem]], *, patient: bool) -> EmbeddedItem:
        """What is kept, or what `make` gives, called once for all who are at once here with one key; then kept.

        Where it fails or is cancelled, the next one calls its own: the failure may have been of the caller's deadline.
        Those who are patient have flights of their own, for which nobody else should wait.
        """
        while (kept := self._entries.get(key)) is None and (key, patient) in self._flights:
            embedded = await asyncio.shield(self._flights[key, patient])
            if embedded is not None:
                return embedded
        if kept is not None:
            return kept
        flight = self._flights[key, patient] = asyncio.get_running_loop().create_future()
        embedded = None
        try:
            embedded = await make()
        finally:
            del self._flights[key, patient]
            flight.set_result(embedded)
        self._keep(key, embedded)
        return embedded

    def _keep(self, key: Key, embedded: EmbeddedItem) -> None:
        if _size(embedded) > self._max_bytes:
            return
        embedded.vectors.flags.writeable = False
        self._entries[key] = embedded


def _size(embedded: EmbeddedItem) -> int:
    return embedded.vectors.nbytes + OVERHEAD_BYTES
