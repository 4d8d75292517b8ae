import asyncio

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Dimension, Lease, Limits
from services.gemini_proxy.accounts.redis_books import RedisBooks
from services.gemini_proxy.accounts.settings import Budget, TenantBudgets
from services.gemini_proxy.question import Priority
from services.runtime.errors import Overloaded, QuotaExhausted
from tests.gemini_proxy.accounts.samples import Clock, claim, settings, settlement
from tests.gemini_proxy.rooms import (
    LONG_S,
    ONE_AT_ONCE,
    empty,
    joins,
    nothing_is_held,
    served_in_order,
    waiting_room,
)
from tests.gemini_proxy.statuses import details
from tests.runtime.conftest import until


async def test_tenants_take_turns(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        first = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        crowd = [await joins(room, claim(f"crowd-{number}", tenant="crowd")) for number in range(4)]
        few = [await joins(room, claim(f"few-{number}", tenant="few")) for number in range(2)]
        order = await served_in_order(books, first.attempt_id, [*crowd, *few])
    assert order == ["crowd-0", "few-0", "crowd-1", "few-1", "crowd-2", "crowd-3"]


async def test_the_urgent_go_first(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        first = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        tasks = [
            await joins(room, claim(level.name), level) for level in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
        ]
        assert await served_in_order(books, first.attempt_id, tasks) == ["HIGH", "NORMAL", "LOW"]


async def test_a_crowd_of_another_tenant_refuses_nobody_who_is_served_before_it(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(Limits(requests_per_minute=2)), clock=clock)
    async with waiting_room(books) as room:
        for _ in range(2):  # the windows have room in 30 s and in 60 s
            lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
            await books.settle(settlement(lease.attempt_id))
            clock.go(30)
        clock.go(-30)
        for _ in range(3):
            await joins(room, claim(tenant="crowd"), timeout_s=1_000)
        await joins(room, claim(tenant="other"), timeout_s=60.5)
        with pytest.raises(QuotaExhausted):
            await joins(room, claim(tenant="crowd"), timeout_s=60.5)
        await empty(room)


async def test_where_there_will_be_no_room_in_time_the_call_is_refused_at_once(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(requests_per_minute=1)), clock=Clock())
    async with waiting_room(books) as room:
        lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        await books.settle(settlement(lease.attempt_id))
        with pytest.raises(QuotaExhausted) as caught:
            await room.lease(claim(), Priority.NORMAL, timeout_s=LONG_S)
    error = caught.value
    assert error.code.name == "RESOURCE_EXHAUSTED"
    found = details(error)
    assert found["ErrorInfo"].reason == "QUOTA_EXHAUSTED"
    assert found["RetryInfo"].retry_delay.ToMilliseconds() == 60_001
    (violation,) = found["QuotaFailure"].violations
    assert (violation.subject, violation.quota_id, violation.quota_value) == (
        "models/gemini-3.8-flash",
        "requests_per_minute",
        1,
    )


async def test_tokens_that_turn_out_fewer_let_in_who_waits_for_them(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(input_tokens_per_minute=100)))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(tokens=90), Priority.NORMAL, timeout_s=0)
        waiting = await joins(room, claim(tokens=70), timeout_s=LONG_S / 2)
        await books.settle(settlement(lease.attempt_id, tokens=20))
        assert isinstance(await waiting, Lease)


async def test_a_claim_that_will_never_fit_is_told_no_time(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(input_tokens_per_minute=100)))
    async with waiting_room(books) as room:
        with pytest.raises(QuotaExhausted) as caught:
            await room.lease(claim(tokens=101), Priority.NORMAL, timeout_s=LONG_S)
    assert caught.value.violation.quota_id == "input_tokens_per_minute"
    assert "RetryInfo" not in details(caught.value)


async def test_a_deadline_that_passes_while_waiting_ends_the_wait(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        with pytest.raises(QuotaExhausted) as caught:
            await room.lease(claim(), Priority.NORMAL, timeout_s=0.3)
        assert caught.value.violation.quota_id == "concurrency"
        assert room.waiting == 0
        await books.settle(settlement(lease.attempt_id))
        assert await nothing_is_held(books)


async def test_who_is_first_and_has_no_more_chance_leaves_before_its_deadline(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        task = await joins(room, claim(), timeout_s=LONG_S)
        await books.learn(
            lease.member, "gemini-3.8-flash", Dimension.REQUESTS_PER_MINUTE, retry_after_s=2 * LONG_S, limit=None
        )
        async with asyncio.timeout(LONG_S / 2):
            with pytest.raises(QuotaExhausted) as caught:
                await task
    assert caught.value.violation.quota_id == "requests_per_minute"
    assert caught.value.retry_after_s > LONG_S


async def test_a_full_room_takes_no_more_of_the_tenant_that_fills_it(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books, max_waiting=3) as room:
        await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        crowd = [await joins(room, claim(tenant="crowd")) for _ in range(3)]
        with pytest.raises(Overloaded) as caught:
            await joins(room, claim(tenant="crowd"))
        assert details(caught.value)["RetryInfo"].retry_delay.seconds == 1
        await joins(room, claim(tenant="other"), waiting=3)  # the last of the crowd made room
        with pytest.raises(Overloaded):
            await crowd[2]
        await joins(room, claim(tenant="other"), Priority.HIGH, waiting=3)
        with pytest.raises(Overloaded):
            await crowd[1]
        with pytest.raises(Overloaded):
            await joins(room, claim(tenant="third"), Priority.LOW)
        assert not crowd[0].done()
        await empty(room)


async def test_many_who_come_at_once_do_not_overfill_the_room(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(ONE_AT_ONCE))
    async with waiting_room(books, max_waiting=3) as room:
        await room.lease(claim(), Priority.NORMAL, timeout_s=0)
        tasks = [asyncio.create_task(room.lease(claim(), Priority.NORMAL, timeout_s=LONG_S)) for _ in range(20)]
        await until(lambda: sum(task.done() for task in tasks) == 17)
        assert room.waiting == 3
        assert {type(task.exception()) for task in tasks if task.done()} == {Overloaded}
        await empty(room)


async def test_a_budget_that_is_spent_does_not_block_those_behind(client: redis.asyncio.Redis) -> None:
    budgets = {"poor": TenantBudgets(day=Budget(1_000))}
    books = RedisBooks(client, settings(ONE_AT_ONCE, budgets=budgets))
    async with waiting_room(books) as room:
        lease = await room.lease(claim(tenant="poor", cost=300), Priority.NORMAL, timeout_s=0)
        poor = await joins(room, claim(tenant="poor", cost=600))
        rich = await joins(room, claim(tenant="rich", cost=600))
        await books.settle(settlement(lease.attempt_id, cost=700))
        assert isinstance(await rich, Lease)
        with pytest.raises(QuotaExhausted) as caught:
            await poor
    found = details(caught.value)
    assert found["ErrorInfo"].reason == "BUDGET_EXHAUSTED"
    (violation,) = found["QuotaFailure"].violations
    assert (violation.subject, violation.quota_id, violation.quota_value) == ("tenants/poor", "budget_day", 1_000)
    assert 0 < found["RetryInfo"].retry_delay.seconds <= 86_400
