"""Answers in this process's memory."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cachetools import TLRUCache

# Of an entry's own objects, beside its data.
OVERHEAD_BYTES = 512


@dataclass(frozen=True)
class _Entry:
    data: bytes
    ttl_s: float


class MemoryCache:
    """The least recently used go first. Bounded by `max_bytes()`, read at each store; emptied where that changes."""

    def __init__(self, max_bytes: Callable[[], int], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries = self._empty(max_bytes())

    @property
    def held_bytes(self) -> int:
        """What it holds."""
        return self._entries.currsize

    def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        return entry.data if entry else None

    def put(self, key: str, data: bytes, ttl_s: float) -> None:
        """Keeps `data` for `ttl_s` seconds; does nothing with what is larger than the cache."""
        if self._entries.maxsize != self._max_bytes():
            self._entries = self._empty(self._max_bytes())
        with suppress(ValueError):
            self._entries[key] = _Entry(data, ttl_s)

    def _empty(self, max_bytes: int) -> TLRUCache[str, _Entry]:
        return TLRUCache(
            maxsize=max_bytes,
            ttu=lambda key, entry, now: now + entry.ttl_s,
            timer=self._clock,
            getsizeof=lambda entry: len(entry.data) + OVERHEAD_BYTES,
        )
