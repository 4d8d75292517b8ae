"""Room for bytes: bounded, more of it for those with the higher priority, and some of it for each tenant."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.admission.byte_room import ByteRoom
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import DeadlineExceeded, InvalidArgument, Overloaded


def room(most: int) -> ByteRoom:
    policy = AdmissionPolicy(max_bytes=most)
    return ByteRoom(lambda: policy)


def fill(at: ByteRoom, stack: ExitStack, tenant: str, priority: Priority = Priority.NORMAL, size: int = 1) -> int:
    """Takes as much as there is; how much that was."""
    before = at.bytes
    while True:
        try:
            stack.enter_context(at.held(tenant, size, priority))
        except Overloaded:
            return at.bytes - before


def test_more_than_ever_fits_is_refused_and_says_so() -> None:
    with pytest.raises(InvalidArgument, match="11 bytes") as caught, room(10).held("t", 11, Priority.HIGH):
        pass
    assert caught.value.field == "messages"


def test_each_priority_leaves_room_to_the_higher_ones() -> None:
    at = room(1_000)
    with ExitStack() as stack:
        low = fill(at, stack, "a", Priority.LOW)
        assert 740 <= low <= 800
        assert 50 <= fill(at, stack, "b", Priority.NORMAL) <= 900 - low
        fill(at, stack, "b", Priority.HIGH)
        assert 950 <= at.bytes <= 1_000
    assert at.bytes == 0


def test_a_flood_leaves_room_to_others_and_makes_more_as_it_goes() -> None:
    at = room(1_000)
    with ExitStack() as calm, ExitStack() as flood:
        assert fill(at, flood, "flood") >= 800
        assert fill(at, calm, "calm") >= 40
        flood.close()
        fill(at, flood, "flood")
        first = at.bytes
        assert fill(at, calm, "calm") > 0
        assert first <= at.bytes <= 900


def test_what_weighs_nothing_and_what_comes_alone_is_let_in() -> None:
    at = room(10)
    with at.held("a", 10, Priority.LOW), at.held("a", 0, Priority.LOW):
        assert at.bytes == 10


@given(
    st.lists(
        st.one_of(st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.sampled_from(Priority)), st.integers(0, 20))
    )
)
def test_whoever_comes_and_goes_there_are_never_more_bytes_than_the_bound(
    actions: list[tuple[int, str, Priority] | int],
) -> None:
    at, inside = room(20), []
    for action in actions:
        if isinstance(action, tuple):
            stack = ExitStack()
            try:
                stack.enter_context(at.held(action[1], action[0], action[2]))
            except Overloaded:
                continue
            inside.append((action[0], stack))
        elif inside:
            inside.pop(action % len(inside))[1].close()
        assert at.bytes == sum(size for size, _ in inside) <= 20


async def test_who_waits_is_let_in_in_order_and_a_tenant_that_has_its_part_keeps_no_other_waiting() -> None:
    at, order = room(1_000), []
    loop = asyncio.get_running_loop()

    async def wait(name: str, tenant: str, size: int) -> None:
        async with at.held_in_turn(tenant, size, Priority.LOW, loop.time() + 60, field="items[0].media"):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        with at.held("greedy", 380, Priority.LOW), at.held("other", 390, Priority.LOW):
            for name, tenant, size in (
                ("has its part", "greedy", 1),
                ("small", "a", 5),
                ("large", "b", 300),
                ("after it", "a", 5),
                ("of no bytes", "a", 0),
            ):
                group.create_task(wait(name, tenant, size))
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert order == ["has its part", "small", "of no bytes"]
    assert order[3:] == ["large", "after it"]
    assert at.bytes == at.waiting == 0


async def test_a_wait_ends_with_its_deadline_or_its_task_and_leaves_no_trace() -> None:
    at = room(10)
    now = asyncio.get_running_loop().time()
    with at.held("a", 10, Priority.NORMAL):
        with pytest.raises(DeadlineExceeded):
            async with at.held_in_turn("b", 5, Priority.LOW, now, field="image"):
                pass
        left = asyncio.ensure_future(at.held_in_turn("b", 5, Priority.LOW, now + 60, field="image").__aenter__())
        await asyncio.sleep(0)
        assert at.waiting == 1
        left.cancel()
        await asyncio.wait({left})
        assert at.waiting == 0
    assert at.bytes == 0


async def test_only_so_many_wait_and_what_turns_out_smaller_makes_room() -> None:
    policy = AdmissionPolicy(max_bytes=100, max_waiting=1)
    at = ByteRoom(lambda: policy)
    deadline = asyncio.get_running_loop().time() + 60

    async def wait() -> None:
        async with at.held_in_turn("b", 40, Priority.LOW, deadline, field="image"):
            pass

    async with at.held_in_turn("a", 80, Priority.LOW, deadline, field="image") as resize:
        first = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await wait()
        resize(10)
        await first
        with pytest.raises(InvalidArgument):
            resize(101)
        assert at.bytes == 10
    assert at.bytes == 0
