"""Answers in Redis, for all replicas."""

import asyncio
import zlib
from typing import NamedTuple

from redis.asyncio import Redis

from services.gateway.redis_link import RedisLink, StoreGone

PREFIX = "chiasm:gateway:answer:v1:"
WAIT_S = 0.2
PACKED_OFF_THE_LOOP_BYTES = 64 * 2**10
MAX_BYTES = 64 * 2**20
"""Larger answers are not kept here, and what unpacks to more is none."""
FAST = 1


class Found(NamedTuple):
    """An answer, and how much longer it is kept."""

    data: bytes
    ttl_s: float


class SharedCache:
    """Where Redis is gone it holds nothing and keeps nothing."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link

    async def get(self, key: str) -> Found | None:
        """Within `WAIT_S` seconds."""

        async def send(client: Redis) -> tuple[bytes | None, int]:
            async with client.pipeline(transaction=True) as pipeline:
                return await pipeline.get(PREFIX + key).pttl(PREFIX + key).execute()

        try:
            packed, ttl_ms = await self.link.call(send, wait_s=WAIT_S)
            return None if packed is None else Found(await _unpacked(packed), ttl_ms / 1000)
        except (StoreGone, zlib.error):
            return None

    async def put(self, key: str, data: bytes, ttl_s: float) -> None:
        """Keeps `data` for `ttl_s` seconds, or not, within `WAIT_S` seconds."""
        if len(data) > MAX_BYTES:
            return
        packed, ttl_ms = await _packed(data), max(1, round(ttl_s * 1000))
        try:
            await self.link.call(lambda client: client.set(PREFIX + key, packed, px=ttl_ms), wait_s=WAIT_S)
        except StoreGone:
            return


async def _packed(data: bytes) -> bytes:
    if len(data) > PACKED_OFF_THE_LOOP_BYTES:
        return await asyncio.to_thread(zlib.compress, data, FAST)
    return zlib.compress(data, FAST)


async def _unpacked(packed: bytes) -> bytes:
    if len(packed) > PACKED_OFF_THE_LOOP_BYTES:
        return await asyncio.to_thread(_decompressed, packed)
    return _decompressed(packed)


def _decompressed(packed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    data = decompressor.decompress(packed, MAX_BYTES)
    if not decompressor.eof:
        raise zlib.error("cut short, or too large")
    return data
