import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedder.batching.room import Room
from services.runtime.errors import Overloaded


async def test_who_is_not_patient_is_refused_where_there_is_no_room() -> None:
    room = Room(10, "crumbs")
    async with room.held(4, patient=False), room.held(6, patient=False):
        with pytest.raises(Overloaded, match="10 crumbs wait") as caught:
            await room.held(1, patient=False).__aenter__()
        assert caught.value.retry_after_s
        async with room.held(0, patient=False):
            pass
    async with room.held(10, patient=False):
        pass


async def test_what_is_larger_than_the_room_is_taken_when_it_is_empty() -> None:
    room = Room(10)
    async with room.held(50, patient=False):
        with pytest.raises(Overloaded):
            await room.held(1, patient=False).__aenter__()
    async with room.held(50, patient=True):
        pass


@given(st.lists(st.integers(1, 15), min_size=1, max_size=20), st.randoms())
def test_the_patient_enter_in_their_order_and_the_bound_holds(amounts: list[int], random: Random) -> None:
    """Whoever leaves, from the line or from the room, even at once."""

    async def enter_all() -> None:
        room, inside, order = Room(10), set(), []

        async def enter(i: int) -> None:
            await room.enter(amounts[i])
            order.append(i)
            inside.add(i)

        tasks = [asyncio.create_task(enter(i)) for i in range(len(amounts))]
        while not all(task.done() for task in tasks) or inside:
            await asyncio.sleep(0)
            assert sum(amounts[i] for i in inside) <= 10 or len(inside) == 1
            if random.random() < 0.3:
                random.choice(tasks).cancel()
            if inside:
                leaver = random.choice(sorted(inside))
                inside.discard(leaver)
                room.leave(amounts[leaver])
        assert order == sorted(order)
        async with room.held(10, patient=False):
            pass

    asyncio.run(enter_all())
