"""The limits of tenants over all replicas, in Redis: one script takes, by the server's own time.

A call at once counts until Redis hears of its end, and where nobody tells (a replica that crashed) until its lease
ends. Leases are short; one round renews those of calls that go on, and tells again of calls that have ended: Redis may
take late what was given up, or miss what was told.
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib import resources

from redis.asyncio import Redis

from services.gateway.policy import TenantPolicy
from services.gateway.redis_link import RedisLink, StoreGone

PREFIX = "chiasm:limits"
WAIT_S = 0.2
ROUND_WAIT_S = 1.0
LEASE_S = 15.0
RENEW_S = 5.0
MAX_ENDED = 10_000
"""Calls whose end is told again; the leases of others end by themselves."""
_SCRIPTS = resources.files(__package__) / "scripts"
_TAKE = (_SCRIPTS / "take.lua").read_text(encoding="utf-8")
_RENEW = (_SCRIPTS / "renew.lua").read_text(encoding="utf-8")

Call = tuple[str, str]
"""The key of its tenant's calls, and its id."""


class SharedLimits:
    """Args:
    link: to Redis.
    lease_s: seconds that a call counts of which nothing more is heard.
    renew_s: seconds between two rounds; a third of a lease or less.
    """

    def __init__(self, link: RedisLink, *, lease_s: float = LEASE_S, renew_s: float = RENEW_S) -> None:
        self._link = link
        self._lease_ms = round(lease_s * 1000)
        self._renew_s = renew_s
        self._replica = uuid.uuid4().hex
        self._held: set[Call] = set()
        self._ended: set[Call] = set()
        self.replicas = 1
        """That took of limits within the last minute, this one included, as Redis last said."""

    @asynccontextmanager
    async def held(self, tenant: TenantPolicy) -> AsyncIterator[tuple[str, float] | None]:
        """A call of the tenant's, to the block's end: `taken`, or the limit that has no room and the seconds until it
        may; None where Redis does not say, and may yet take it."""
        call, said = (_keys(tenant)[1], uuid.uuid4().hex), None
        try:
            said = await self._take(tenant, call)
            if _may_count(tenant, said):
                self._held.add(call)
            yield said
        finally:
            if _may_count(tenant, said):
                await self._give_back(call)

    async def run(self) -> None:
        """A round every `renew_s` seconds, for ever."""
        while True:
            await asyncio.sleep(self._renew_s)
            await self._round()

    async def _take(self, tenant: TenantPolicy, call: Call) -> tuple[str, float] | None:
        keys = _keys(tenant)
        arguments = (tenant.requests_per_minute or 0, tenant.max_calls or 0, call[1], self._lease_ms, self._replica)
        try:
            outcome, wait_ms, self.replicas = await self._link.call(
                lambda redis: redis.eval(_TAKE, len(keys), *keys, *arguments), wait_s=WAIT_S
            )
        except StoreGone:
            return None
        return outcome.decode(), wait_ms / 1000

    async def _give_back(self, call: Call) -> None:
        self._held.discard(call)
        if len(self._ended) < MAX_ENDED:
            self._ended.add(call)
        key, name = call
        try:
            await self._link.call(lambda redis: redis.zrem(key, name), wait_s=WAIT_S)
        except StoreGone:
            return  # the next round tells it again, as always: one under way may just have renewed the lease

    async def _round(self) -> None:
        held, ended = self._held.copy(), self._ended.copy()

        async def send(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                for key, names in _by_key(ended).items():
                    pipeline.zrem(key, *names)
                for key, names in _by_key(held).items():
                    pipeline.eval(_RENEW, 1, key, self._lease_ms, *names)
                await pipeline.execute()

        if not held and not ended:
            return
        try:
            await self._link.call(send, wait_s=ROUND_WAIT_S)
        except StoreGone:
            return
        self._ended -= ended


def _keys(tenant: TenantPolicy) -> tuple[str, str, str]:
    """In one slot of a cluster."""
    return tuple(f"{PREFIX}:{{{tenant.name}}}:{what}" for what in ("requests", "calls", "replicas"))


def _may_count(tenant: TenantPolicy, said: tuple[str, float] | None) -> bool:
    """Whether Redis counts the call as one in flight, or may yet."""
    return tenant.max_calls is not None and (said is None or said[0] == "taken")


def _by_key(calls: Iterable[Call]) -> dict[str, list[str]]:
    names = defaultdict(list)
    for key, name in calls:
        names[key].append(name)
    return names
