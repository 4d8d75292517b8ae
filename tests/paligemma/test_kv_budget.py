import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.paligemma.kv_budget import KvBudget


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Holder:
    """A task that holds `tokens` until told to leave."""

    def __init__(self, budget: KvBudget, tokens: int) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, tokens))

    async def _hold(self, budget: KvBudget, tokens: int) -> None:
        async with budget.hold(tokens):
            self.inside = True
            try:
                await self.leave.wait()
            finally:
                self.inside = False


async def test_one_that_does_not_fit_waits_and_those_behind_it_too() -> None:
    budget = KvBudget(blocks=10, block_tokens=16)
    first, second, third = (Holder(budget, tokens) for tokens in (96, 96, 16))  # 7, 7 and 2 blocks
    await turn()
    assert (first.inside, second.inside, third.inside) == (True, False, False)
    first.leave.set()
    await turn()
    assert (first.inside, second.inside, third.inside) == (False, True, True)
    for holder in (second, third):
        holder.leave.set()
        await holder.task


async def test_a_cancelled_waiter_lets_the_next_one_in() -> None:
    budget = KvBudget(blocks=10, block_tokens=16)
    first, second, third = (Holder(budget, tokens) for tokens in (96, 96, 16))
    await turn()
    second.task.cancel()
    await turn()
    assert third.inside
    for holder in (first, third):
        holder.leave.set()
        await holder.task
    with pytest.raises(asyncio.CancelledError):
        await second.task


async def test_one_cancelled_as_it_is_granted_gives_back() -> None:
    budget = KvBudget(blocks=4, block_tokens=16)
    first, second = Holder(budget, 48), Holder(budget, 48)
    await turn()
    first.leave.set()
    await asyncio.sleep(0)  # first leaves and grants second, which has not run yet
    second.task.cancel()
    await turn()
    third = Holder(budget, 48)
    await turn()
    assert third.inside
    third.leave.set()
    await third.task


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["leave", "cancel"])), max_size=30), st.randoms())
def test_never_more_than_there_is_and_nothing_lost(asks: list[tuple[int, str]], random: object) -> None:
    async def run() -> None:
        budget = KvBudget(blocks=12, block_tokens=16)
        holders = [(Holder(budget, tokens), min(-(-tokens // 16) + 1, 12), end) for tokens, end in asks]
        await turn()
        random.shuffle(holders)
        for holder, _, end in holders:
            assert sum(blocks for other, blocks, _ in holders if other.inside) <= 12
            holder.leave.set()
            if end == "cancel":
                holder.task.cancel()
            await turn()
        await asyncio.gather(*(holder.task for holder, _, _ in holders), return_exceptions=True)
        last = Holder(budget, 16 * 11)  # all of it is free again
        await turn()
        assert last.inside
        last.leave.set()
        await last.task

    asyncio.run(run())
