"""What replicas tell one another and may lose: where files lie, what was seen. Money is in the books, never here."""

import asyncio
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from math import ceil
from typing import Any
from weakref import WeakValueDictionary

from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.redis_books import PREFIX, connect, reaching_the_store

Note = Mapping[str, Any]
"""A JSON object."""

MOST_KEPT = 10_000
"""Notes of a shelf, and counts, that a process keeps by itself; the oldest go."""
_SHELF_LASTS_S = 172_800
_LOOK_AGAIN_S = 0.05
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Notes:
    """Of this process alone.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._shelves: dict[str, OrderedDict[str, tuple[float, Note]]] = {}
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Ends what connections there are."""

    async def get(self, shelf: str, key: str) -> Note | None:
        """None where there is none, or its time is over."""
        expires, note = self._shelf(shelf).get(key, (0, None))
        return note if expires > self.clock() else None

    async def put(self, shelf: str, key: str, note: Note, *, lasts_s: float) -> None:
        """In the place of the one before."""
        kept = self._shelf(shelf)
        kept.pop(key, None)
        kept[key] = self.clock() + lasts_s, note
        if len(kept) > MOST_KEPT:
            kept.popitem(last=False)

    async def remove(self, shelf: str, key: str) -> None:
        self._shelf(shelf).pop(key, None)

    async def all(self, shelf: str) -> dict[str, Note]:
        """By key; those first whose time is over first."""
        return _in_order(self._shelf(shelf), self.clock())

    async def seen(self, key: str, *, within_s: int) -> bool:
        """Whether this was asked of `key` before, within so many seconds."""
        before = await Notes.get(self, "seen", key)
        await Notes.put(self, "seen", key, {}, lasts_s=within_s)
        return before is not None

    async def count(self, key: str, *, within_s: int) -> float:
        """About how often this was asked of `key` within so many seconds, now included.

        Those of the period before this one are taken to be evenly spread over it.
        """
        period, gone = self._period(within_s)
        at, now, before = self._counts.pop(key, (period, 0, 0))
        if at != period:
            now, before = 0, now if at == period - 1 else 0
        self._counts[key] = period, now + 1, before
        if len(self._counts) > MOST_KEPT:
            self._counts.popitem(last=False)
        return now + 1 + before * (1 - gone)

    def alone(self, key: str, *, at_most_s: float) -> AbstractAsyncContextManager[None]:
        """Waits until nobody else is in a block of the same `key`. The wait has no bound of its own.

        Where replicas share notes, another may enter after `at_most_s` seconds, because this one may be dead.
        """
        return self._alone_here(key)

    @asynccontextmanager
    async def _alone_here(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def _shelf(self, name: str) -> OrderedDict[str, tuple[float, Note]]:
        return self._shelves.setdefault(name, OrderedDict())

    def _period(self, seconds: int) -> tuple[int, float]:
        """The number of the period of so many seconds, and what part of it is over."""
        number, over = divmod(self.clock(), seconds)
        return int(number), over / seconds


class SharedNotes(Notes):
    """In Redis. While it cannot be reached, those of this process: what is not known is found out again.

    Args:
        url: of Redis.
        timeout_s: seconds that it may take to answer.
        clock: as `Notes`'.
    """

    def __init__(self, url: str, *, timeout_s: float, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._client = connect(url, timeout_s=timeout_s)
        self._release = self._client.register_script(_RELEASE)

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, shelf: str, key: str) -> Note | None:
        with suppress(BooksUnavailable), reaching_the_store():
            found = await self._client.hget(_name(shelf), key)
            expires, note = json.loads(found) if found else (0, None)
            return note if expires > self.clock() else None
        return await super().get(shelf, key)

    async def put(self, shelf: str, key: str, note: Note, *, lasts_s: float) -> None:
        await super().put(shelf, key, note, lasts_s=lasts_s)
        with suppress(BooksUnavailable), reaching_the_store():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hset(_name(shelf), key, json.dumps([self.clock() + lasts_s, note]))
                pipeline.expire(_name(shelf), _SHELF_LASTS_S)
                await pipeline.execute()

    async def remove(self, shelf: str, key: str) -> None:
        await super().remove(shelf, key)
        with suppress(BooksUnavailable), reaching_the_store():
            await self._client.hdel(_name(shelf), key)

    async def all(self, shelf: str) -> dict[str, Note]:
        with suppress(BooksUnavailable), reaching_the_store():
            found = {key: json.loads(value) for key, value in (await self._client.hgetall(_name(shelf))).items()}
            kept = _in_order(found, self.clock())
            if over := found.keys() - kept.keys():
                await self._client.hdel(_name(shelf), *over)
            return kept
        return await super().all(shelf)

    async def seen(self, key: str, *, within_s: int) -> bool:
        with suppress(BooksUnavailable), reaching_the_store():
            return await self._client.set(_name("seen", key), 1, ex=within_s, get=True) is not None
        return await super().seen(key, within_s=within_s)

    async def count(self, key: str, *, within_s: int) -> float:
        period, gone = self._period(within_s)
        with suppress(BooksUnavailable), reaching_the_store():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.incr(_name("count", f"{key}:{period}"))
                pipeline.expire(_name("count", f"{key}:{period}"), 2 * within_s)
                pipeline.get(_name("count", f"{key}:{period - 1}"))
                now, _, before = await pipeline.execute()
            return now + int(before or 0) * (1 - gone)
        return await super().count(key, within_s=within_s)

    @asynccontextmanager
    async def alone(self, key: str, *, at_most_s: float) -> AsyncIterator[None]:
        async with self._alone_here(key):
            token = uuid.uuid4().hex
            with suppress(BooksUnavailable), reaching_the_store():
                while not await self._take(key, token, at_most_s):  # noqa: ASYNC110 - a lock of Redis rings no event
                    await asyncio.sleep(_LOOK_AGAIN_S)
            try:
                yield
            finally:
                with suppress(BooksUnavailable), reaching_the_store():
                    await self._release(keys=[_name("lock", key)], args=[token])

    async def _take(self, key: str, token: str, at_most_s: float) -> bool:
        return bool(await self._client.set(_name("lock", key), token, nx=True, px=ceil(at_most_s * 1000)))


def _name(*parts: str) -> str:
    return f"{PREFIX}notes:{':'.join(parts)}"


def _in_order(kept: Mapping[str, tuple[float, Note]], now: float) -> dict[str, Note]:
    """Those whose time is not over."""
    in_time = [(expires, key, note) for key, (expires, note) in kept.items() if expires > now]
    return {key: note for _, key, note in sorted(in_time, key=lambda each: each[0])}
