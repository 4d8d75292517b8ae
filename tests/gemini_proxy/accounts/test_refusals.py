"""A Redis that is there and refuses, or answers what it never should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Lease
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.redis_books import PREFIX, RedisBooks, connect
from services.gemini_proxy.attempts import Attempts
from services.gemini_proxy.prices import Prices
from services.runtime.errors import Internal
from tests.gemini_proxy.accounts.samples import claim, settings
from tests.runtime.conftest import until
from tests.valkey import valkey_server

Refusing = Callable[[redis.asyncio.Redis, Path], Awaitable[Callable[[], Awaitable[object]]]]
"""Makes a server refuse; what it returns puts an end to that."""


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[redis.asyncio.Redis]:
    """Of a server of this test's own."""
    with valkey_server(save="", data_dir=tmp_path, persist=True) as server:
        client = connect(server.connection_url, timeout_s=5)
        yield client
        await client.aclose()


async def without_copies(client: redis.asyncio.Redis, folder: Path) -> Callable[[], Awaitable[object]]:
    await client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


async def without_disk(client: redis.asyncio.Redis, folder: Path) -> Callable[[], Awaitable[object]]:
    (folder / "dump.rdb").mkdir()
    await client.config_set("save", "3600 1")
    await client.bgsave()
    async with asyncio.timeout(10):
        while (await client.info("persistence"))["rdb_last_bgsave_status"] == "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return lambda: client.config_set("save", "")


async def busy(client: redis.asyncio.Redis, folder: Path) -> Callable[[], Awaitable[object]]:
    await client.config_set("busy-reply-threshold", 1)
    endless = asyncio.create_task(client.eval("while true do end", 0))
    async with asyncio.timeout(10):
        while await answers(client):
            pass

    async def end() -> None:
        await client.script_kill()
        with pytest.raises(redis.ResponseError):
            await endless

    return end


async def answers(client: redis.asyncio.Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.ResponseError:
        return False


@pytest.mark.parametrize(
    ("refusing", "word"), [(without_copies, "NOREPLICAS"), (without_disk, "MISCONF"), (busy, "BUSY")]
)
async def test_a_server_that_refuses_for_now_is_as_good_as_away(
    alone: redis.asyncio.Redis, tmp_path: Path, refusing: Refusing, word: str
) -> None:
    books = RedisBooks(alone, settings())
    taken = claim()
    end = await refusing(alone, tmp_path)
    with pytest.raises(BooksUnavailable) as refused:
        await books.reserve(taken)
    assert word in refused.value.message
    await end()
    assert isinstance(await books.reserve(taken), Lease)


async def test_an_answer_that_should_never_come_ends_nothing(
    client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    books = RedisBooks(client, settings())
    await client.set(f"{PREFIX}leases", "no sorted set")
    with pytest.raises(Internal, match="WRONGTYPE"):
        await books.sweep()
    tending = asyncio.create_task(Attempts(books, Prices(), lease_s=0.03).run())
    await until(lambda: "WRONGTYPE" in caplog.text)
    await client.delete(f"{PREFIX}leases")
    assert isinstance(await books.reserve(claim()), Lease)
    assert not tending.done()
    tending.cancel()
    await asyncio.wait([tending])
