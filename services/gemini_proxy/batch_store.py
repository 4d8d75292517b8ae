"""Batches in Redis, where any replica can go on with them.

A record is written only by who has the batch's lock, which ends by itself when its holder dies. What is written twice
is the same both times, so that a lock that ended too soon does no harm.
"""

import base64
import json
import logging
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum

import redis.asyncio

from services.gemini_proxy.accounts.redis_books import PREFIX, reaching_the_store
from services.runtime.errors import Internal

logger = logging.getLogger(__name__)

KEPT_S = 48 * 3600
"""How long a batch and its answers are kept after its end."""
_LONGEST_S = 7 * 24 * 3600
"""How long one is kept that does not end: the provider ends each after 48 h."""
LOCK_S = 120
"""Longer than whoever holds it makes the provider wait, or waits for it."""

_DELETE_OWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class State(StrEnum):
    PENDING = "pending"
    """Whether the provider has it is not known."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self not in (State.PENDING, State.RUNNING)


@dataclass(frozen=True)
class Asked:
    """What must be known of a request to read its answer and to book it."""

    request_id: str
    task: str
    max_tokens: int
    json_schema: str
    width: int
    """Pixels of the picture that things are found in; 0 where none are."""
    height: int
    worst_nanousd: int
    """What is held for it."""


@dataclass(frozen=True)
class Record:
    """A batch."""

    id: str
    """In the order of time."""
    tenant: str
    model: str
    member: str
    """Whose key it was sent with."""
    request_id: str
    count: int
    started_at: float
    """Seconds since 1970."""
    state: State = State.PENDING
    provider_name: str = ""
    """Empty until it is known that the provider has it."""
    ended_at: float = 0.0
    succeeded: int = 0
    usage: Mapping[str, int] | None = None
    """Of all its requests, by the names of the contract's `Usage`; None until it has ended."""

    def attempt_id(self, index: int) -> str:
        return f"{self.id}-{index}"

    @property
    def attempt_ids(self) -> list[str]:
        return [self.attempt_id(index) for index in range(self.count)]


def new_id(started_at: float) -> str:
    return f"{int(started_at * 1000):013d}-{secrets.token_hex(8)}"


class BatchStore:
    """Args:
    client: from `redis_books.connect`; `close` closes it.
    Raises BooksUnavailable.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._delete_own = client.register_script(_DELETE_OWN)

    async def close(self) -> None:
        await self._client.aclose()

    async def take_name(self, record: Record) -> str:
        """The batch that has the caller's name for it now: this one, or one before it. For `LOCK_S`, until `add`."""
        key = _key("batch-name", record.tenant, record.request_id)
        with reaching_the_store():
            before = await self._client.set(key, record.id, nx=True, get=True, ex=LOCK_S)
        return before or record.id

    async def add(self, record: Record, asked: Sequence[Asked]) -> None:
        facts = packed(json.dumps([asdict(each) for each in asked]).encode())
        with reaching_the_store():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.set(_key("batch", record.id), _line(record), ex=_LONGEST_S)
                pipeline.set(_key("batch-asked", record.id), facts, ex=_LONGEST_S)
                pipeline.zadd(_key("batches-of", record.tenant), {record.id: 0})
                pipeline.sadd(_key("batches-open"), record.id)
                pipeline.expire(_key("batch-name", record.tenant, record.request_id), KEPT_S)
                await pipeline.execute()

    async def save(self, record: Record) -> None:
        """One that has ended is forgotten after `KEPT_S`."""
        kept_s = KEPT_S if record.state.ended else _LONGEST_S
        with reaching_the_store():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.set(_key("batch", record.id), _line(record), ex=kept_s)
                pipeline.expire(_key("batch-results", record.id), kept_s)
                if record.state.ended:
                    pipeline.srem(_key("batches-open"), record.id)
                    pipeline.delete(_key("batch-asked", record.id), _key("batch-cancel", record.id))
                await pipeline.execute()

    async def remove(self, record: Record) -> None:
        """As if it had never been."""
        with reaching_the_store():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.srem(_key("batches-open"), record.id)
                pipeline.zrem(_key("batches-of", record.tenant), record.id)
                pipeline.delete(_key("batch", record.id), _key("batch-asked", record.id))
                pipeline.delete(_key("batch-name", record.tenant, record.request_id))
                await pipeline.execute()

    async def free_name(self, record: Record) -> None:
        """The caller's name for it may be given to another batch."""
        with reaching_the_store():
            await self._delete_own(keys=[_key("batch-name", record.tenant, record.request_id)], args=[record.id])

    async def load(self, batch_id: str) -> Record | None:
        with reaching_the_store():
            return _record(await self._client.get(_key("batch", batch_id)))

    async def asked(self, batch_id: str) -> list[Asked]:
        """Of one that has not ended. Raises Internal where it is not kept any more."""
        with reaching_the_store():
            facts = await self._client.get(_key("batch-asked", batch_id))
        if facts is None:
            raise Internal(f"what was asked in the batch {batch_id} is not kept any more")
        return [Asked(**each) for each in json.loads(_unpacked(facts))]

    async def open(self) -> list[Record]:
        """Those that have not ended and can be read."""
        with reaching_the_store():
            ids = sorted(await self._client.smembers(_key("batches-open")))
            lines = await self._client.mget([_key("batch", each) for each in ids]) if ids else []
            if gone := [each for each, line in zip(ids, lines, strict=True) if line is None]:
                await self._client.srem(_key("batches-open"), *gone)
        return [record for line in lines if line is not None and (record := _readable(line)) is not None]

    async def page(self, tenant: str, *, below: str, size: int) -> list[Record]:
        """At most `size` of the tenant's, newest first, before the one named `below`; empty for the first page."""
        key = _key("batches-of", tenant)
        with reaching_the_store():
            # By their ids' order, which is that of time, those forgotten come last.
            oldest = f"({int((time.time() - KEPT_S - _LONGEST_S) * 1000):013d}"
            await self._client.zremrangebylex(key, "-", oldest)
            ids = await self._client.zrevrangebylex(key, f"({below}" if below else "+", "-")
            found: list[Record] = []
            for first in range(0, len(ids), size):
                lines = await self._client.mget([_key("batch", each) for each in ids[first : first + size]])
                found += [record for record in map(_record, lines) if record is not None]
                if len(found) >= size:
                    break
        return found[:size]

    async def ask_cancel(self, batch_id: str) -> None:
        with reaching_the_store():
            await self._client.set(_key("batch-cancel", batch_id), 1, ex=_LONGEST_S)

    async def cancel_asked(self, batch_id: str) -> bool:
        with reaching_the_store():
            return bool(await self._client.exists(_key("batch-cancel", batch_id)))

    async def put_results(self, batch_id: str, results: Mapping[int, str]) -> None:
        """What `packed` gave, by the number of the request."""
        with reaching_the_store():
            await self._client.hset(_key("batch-results", batch_id), mapping=results)
            await self._client.expire(_key("batch-results", batch_id), _LONGEST_S)

    async def results(self, batch_id: str, indexes: Sequence[int]) -> list[bytes]:
        with reaching_the_store():
            found = await self._client.hmget(_key("batch-results", batch_id), [str(index) for index in indexes])
        return [_unpacked(result) for result in found if result is not None]

    async def may_poll(self, batch_id: str, *, every_s: float) -> bool:
        """Whether none of the replicas has asked the provider in the last `every_s` seconds."""
        with reaching_the_store():
            key = _key("batch-polled", batch_id)
            return bool(await self._client.set(key, 1, nx=True, px=max(1, round(every_s * 1000))))

    @asynccontextmanager
    async def locked(self, batch_id: str) -> AsyncIterator[bool]:
        """Whether the batch is ours for the block, `LOCK_S` at most."""
        key, token = _key("batch-lock", batch_id), secrets.token_hex(8)
        with reaching_the_store():
            mine = bool(await self._client.set(key, token, nx=True, ex=LOCK_S))
        try:
            yield mine
        finally:
            if mine:
                with reaching_the_store():
                    await self._delete_own(keys=[key], args=[token])


def packed(data: bytes) -> str:
    """As it is kept: compressed, and text."""
    # The client reads text.
    return base64.b64encode(zlib.compress(data)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _line(record: Record) -> str:
    return json.dumps(asdict(record))


def _record(line: str | None) -> Record | None:
    if line is None:
        return None
    fields = json.loads(line)
    return Record(**fields | {"state": State(fields["state"])})


def _readable(line: str) -> Record | None:
    """None for one that another version has written in another form, which that version looks after."""
    try:
        return _record(line)
    except (TypeError, ValueError, KeyError):
        logger.error("a batch cannot be read: %s", line[:64])
        return None


def _key(kind: str, *names: str) -> str:
    return f"{PREFIX}{kind}:{json.dumps(names, separators=(',', ':'))}"
