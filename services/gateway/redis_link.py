"""The way to Redis: every wait bounded, and left alone for a while when Redis is gone."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from services.runtime.cancellation import cancellation_kept

logger = logging.getLogger(__name__)

MAX_WAIT_S = 1.5
FAILURES = 2
PROBE_S = 1.0
MAX_CONNECTIONS = 64
MAX_BLOCKED = 512

T = TypeVar("T")
Send = Callable[[Redis], Awaitable[T]]


class StoreGone(Exception):
    """Redis did not do it, or is left alone for now. Go on without."""


class RedisLink:
    """After `FAILURES` failures in a row nothing is sent but one call every `PROBE_S` seconds, until one succeeds.

    Args:
        url: `redis://` or `rediss://`; it may hold a password and is never told of.
        clock: seconds that only grow, for tests of what time does.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._client = _client(url, MAX_CONNECTIONS)
        self._blocked = _client(url, MAX_BLOCKED)
        # Not the pools' own way to wait: who waits there too long cannot tell it from a Redis that is gone.
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._blocked_room = asyncio.Semaphore(MAX_BLOCKED)
        self._failures = 0
        self._probe_at = 0.0

    async def call(self, send: Send[T], *, wait_s: float) -> T:
        """The answer to what `send` sends, within `wait_s`, at most `MAX_WAIT_S`; where many are before it, after as
        long a wait for its turn. Raises StoreGone."""
        async with _turn(self._room, wait_s):
            return await self._reach(self._client, send, wait_s)

    async def block(self, send: Send[T]) -> T:
        """Like `call`, for what Redis answers when it has something to tell, within `MAX_WAIT_S`. Raises StoreGone."""
        async with _turn(self._blocked_room, MAX_WAIT_S):
            return await self._reach(self._blocked, send, MAX_WAIT_S)

    async def close(self) -> None:
        await self._client.aclose()
        await self._blocked.aclose()

    async def _reach(self, client: Redis, send: Send[T], wait_s: float) -> T:
        if self._failures >= FAILURES:
            if self._clock() < self._probe_at:
                raise StoreGone("left alone")
            self._probe_at = self._clock() + PROBE_S
        try:
            async with asyncio.timeout(wait_s):
                with cancellation_kept():
                    answer = await send(client)
        except OutOfMemoryError as error:
            raise StoreGone(type(error).__name__) from None
        # Their text may name the server; uvloop raises a RuntimeError for a transport that was reset.
        except (RedisError, OSError, RuntimeError) as error:
            self._failed(type(error).__name__)
            raise StoreGone(type(error).__name__) from None
        self._succeeded()
        return answer

    def _failed(self, error: str) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            self._probe_at = self._clock() + PROBE_S
            logger.warning("Redis is gone: answers, flights and limits are this replica's own", extra={"why": error})

    def _succeeded(self) -> None:
        if self._failures >= FAILURES:
            logger.info("Redis is back")
        self._failures = 0


@asynccontextmanager
async def _turn(room: asyncio.Semaphore, wait_s: float) -> AsyncIterator[None]:
    """Raises StoreGone where it does not come in time, which says nothing of Redis."""
    try:
        async with asyncio.timeout(wait_s):
            await room.acquire()
    except TimeoutError:
        raise StoreGone("busy") from None
    try:
        yield
    finally:
        room.release()


def _client(url: str, connections: int) -> Redis:
    return Redis.from_pool(
        ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=MAX_WAIT_S,
            socket_connect_timeout=MAX_WAIT_S,
            retry=Retry(NoBackoff(), 0),
            # With them on, the pool hands out connections that the server has closed.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    )
