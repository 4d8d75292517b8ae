"""Slots that tenants share."""

import asyncio

import pytest

from services.gateway.media.slots import Slots


@pytest.mark.parametrize(("total", "each"), [(1, 1), (3, 1), (4, 1), (32, 8)])
async def test_a_tenant_has_a_quarter_and_others_the_rest(total: int, each: int) -> None:
    slots, held, go_on = Slots(total), [], asyncio.Event()

    async def use(tenant: str) -> None:
        async with slots.slot(tenant):
            held.append(tenant)
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for i in range(2 * total):
            group.create_task(use("one"))
            group.create_task(use(f"other-{i}"))
        async with asyncio.timeout(20):
            while len(held) < total:  # noqa: ASYNC110 - all that may have one do
                await asyncio.sleep(0)
        first = held[:]
        go_on.set()
    assert (len(first), first.count("one")) == (total, each)
    assert len(held) == 4 * total


async def test_who_is_cancelled_while_waiting_takes_no_slot() -> None:
    slots = Slots(1)
    async with slots.slot("one"):
        assert slots.full("one")
        assert slots.full("two")
        for tenant in ("one", "two"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0), slots.slot(tenant):
                    pass
    assert not slots.full("one")
    assert not slots.full("two")


async def test_nothing_is_kept_of_a_tenant_that_has_gone() -> None:
    slots = Slots(4)
    for i in range(100):
        async with slots.slot(f"tenant-{i}"):
            pass
    assert len(slots._tenants) == 0
