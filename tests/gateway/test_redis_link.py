"""Redis that is gone, silent, or back."""

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from services.gateway import redis_link as links
from services.gateway.caching import shared
from services.gateway.caching.shared import PREFIX, SharedCache
from services.gateway.redis_link import RedisLink, StoreGone
from tests.valkey import valkey_server


@asynccontextmanager
async def linked(port: int, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[RedisLink]:
    link = RedisLink(f"redis://:s3cret@127.0.0.1:{port}", clock=clock)
    try:
        yield link
    finally:
        await link.close()


async def ping(client: Redis) -> bool:
    return await client.ping()


async def test_it_is_left_alone_while_gone_and_probed_and_each_change_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    caplog.set_level(logging.INFO)
    server = valkey_server(save="")
    server.start()
    port = server.port
    server.stop()
    async with linked(port, lambda: now) as link:
        sent = 0

        async def counted(client: Redis) -> bool:
            nonlocal sent
            sent += 1
            return await client.set("a", "b")

        for _ in range(10):
            with pytest.raises(StoreGone):
                await link.call(counted, wait_s=1)
        assert sent == links.FAILURES
        now += 1.1
        for _ in range(10):
            with pytest.raises(StoreGone):
                await link.call(counted, wait_s=1)
        assert sent == links.FAILURES + 1
        server.start()
        try:
            now += 1.1
            async with Redis(port=port) as admin:
                await admin.config_set("requirepass", "s3cret")
            assert await link.call(counted, wait_s=1)
            assert await link.call(counted, wait_s=1)
        finally:
            server.stop()
    ours = [record for record in caplog.records if record.name == links.__name__]
    assert [record.levelname for record in ours] == ["WARNING", "INFO"]
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(link)


async def test_a_redis_that_says_nothing_is_waited_for_no_more_than_a_few_times() -> None:
    calls = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, linked(server.sockets[0].getsockname()[1], lambda: 0.0) as link:
        cache = SharedCache(link)
        assert [await cache.get("a") for _ in range(20)] == [None] * 20
        await cache.put("a", b"b", 5)
    await server.wait_closed()
    assert calls == links.FAILURES


async def test_a_cancelled_call_is_cancelled() -> None:
    with valkey_server(save="") as server:
        link = RedisLink(f"redis://127.0.0.1:{server.port}")
        waiting = asyncio.create_task(link.block(lambda client: client.blpop(["nothing"], timeout=1)))
        async with Redis(port=server.port) as admin:
            while not (await admin.info("clients"))["blocked_clients"]:
                pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await link.call(ping, wait_s=5)
        await link.close()


async def test_a_busy_link_is_not_a_redis_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_CONNECTIONS", 1)
    with valkey_server(save="") as server:
        async with linked(server.port) as link:
            begun = asyncio.Event()
            go = asyncio.Event()

            async def slow(client: Redis) -> bool:
                begun.set()
                await go.wait()
                return await client.echo("a") == b"a"

            holding = asyncio.create_task(link.call(slow, wait_s=10))
            await begun.wait()
            for _ in range(2 * links.FAILURES):
                with pytest.raises(StoreGone, match="busy"):
                    await link.call(ping, wait_s=0.01)
            go.set()
            assert await holding
            waiting = [link.call(lambda client: client.echo("b"), wait_s=10) for _ in range(20)]
            assert await asyncio.gather(*waiting) == [b"b"] * 20


async def test_what_would_unpack_to_more_than_any_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_BYTES", 1_000)
    with valkey_server(save="") as server:
        link = RedisLink(f"redis://127.0.0.1:{server.port}")
        cache = SharedCache(link)
        await cache.put("a", bytes(1_001), 60)
        assert await cache.get("a") is None
        async with Redis(port=server.port) as admin:
            await admin.set(PREFIX + "b", zlib.compress(bytes(1_001)))
            await admin.set(PREFIX + "c", zlib.compress(bytes(1_000))[:-5])
        assert [await cache.get(key) for key in "bc"] == [None, None]
        await link.close()


async def test_it_packs_what_it_keeps_and_forgets_it_in_time() -> None:
    with valkey_server(save="") as server:
        link = RedisLink(f"redis://127.0.0.1:{server.port}")
        cache = SharedCache(link)
        for size in (10, 1_000_000):
            data = b"answer" * size
            await cache.put("a", data, 60)
            found = await cache.get("a")
            assert found.data == data
            assert 50 < found.ttl_s <= 60
        async with Redis(port=server.port) as admin:
            assert await admin.strlen(PREFIX + "a") < 100_000
            await admin.set(PREFIX + "a", b"damaged")
        assert await cache.get("a") is None
        assert await cache.get("b") is None
        await link.close()
