"""The gate's promises, one by one and under any order of events."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.admission.gate import Gate
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import InvalidArgument, Overloaded
from tests.gateway.admission.virtual_time import run

pytestmark = pytest.mark.timeout(30)  # whoever waits here for a turn that never comes shall not wait long

FAR = 1e6


def gate(**bounds: object) -> Gate:
    policy = AdmissionPolicy(**bounds)
    return Gate(lambda: policy)


async def settled() -> None:
    """All that is due has happened."""
    for _ in range(5):
        await asyncio.sleep(0)


class Caller:
    """A call that stays until it is told to go."""

    def __init__(
        self, at: Gate, pixels: int = 1, tenant: str = "t", priority: Priority = Priority.NORMAL, deadline: float = FAR
    ) -> None:
        self._go = asyncio.Event()
        self.inside = False
        self.pixels = pixels
        self.task = asyncio.create_task(self._call(at, tenant, priority, deadline))

    async def _call(self, at: Gate, tenant: str, priority: Priority, deadline: float) -> None:
        async with at.admitted(tenant, self.pixels, priority=priority, deadline=deadline) as admission:
            self.inside = True
            try:
                await self._go.wait()
                admission.answered()
            finally:
                self.inside = False

    async def go(self) -> None:
        self._go.set()
        await self.task

    async def refusal(self) -> Exception:
        return (await asyncio.gather(self.task, return_exceptions=True))[0]

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_more_than_ever_fits_is_refused_and_says_so() -> None:
    with pytest.raises(InvalidArgument, match="11 pixels") as caught:
        async with gate(max_pixels=10).admitted("t", 11, deadline=FAR):
            pass
    assert caught.value.field == "messages"


async def test_the_next_begins_when_one_ends() -> None:
    at = gate(max_calls=1)
    first, second, third = Caller(at), Caller(at), Caller(at)
    await settled()
    assert (first.inside, second.inside, third.inside, at.waiting) == (True, False, False, 2)
    await first.go()
    await settled()
    assert (second.inside, third.inside) == (True, False)
    await third.cancel()
    await second.go()
    assert (at.in_flight, at.waiting, at.pixels) == (0, 0, 0)


async def test_a_turn_that_comes_as_its_caller_leaves_is_passed_on() -> None:
    at = gate(max_calls=1)
    first, second, third = Caller(at), Caller(at), Caller(at)
    await settled()
    first.task.cancel()
    second.task.cancel()
    await settled()
    assert (second.inside, third.inside, at.waiting) == (False, True, 0)
    await third.go()


async def test_a_large_call_is_not_overtaken_for_ever() -> None:
    at = gate(max_pixels=10)
    small, large, late = Caller(at, 6), Caller(at, 9), Caller(at, 1)
    await settled()
    assert (small.inside, large.inside, late.inside) == (True, False, False)
    await small.go()
    await settled()
    assert (large.inside, late.inside) == (True, True)
    await large.go()
    await late.go()


async def test_where_nobody_may_wait_longer_the_lowest_priority_goes() -> None:
    at = gate(max_calls=1, max_waiting=2)
    holder = Caller(at)
    await settled()
    normal, low = Caller(at), Caller(at, priority=Priority.LOW)
    await settled()
    high = Caller(at, priority=Priority.HIGH)
    refusal = await low.refusal()
    assert isinstance(refusal, Overloaded)
    assert refusal.retry_after_s > 0
    assert isinstance(await Caller(at).refusal(), Overloaded)  # the newcomer, where all have as much right
    await holder.go()
    await settled()
    assert high.inside
    await high.go()
    await normal.go()


async def test_where_nobody_may_wait_longer_the_greediest_tenant_gives_way() -> None:
    at = gate(max_calls=1, max_waiting=2)
    holder = Caller(at, tenant="greedy")
    await settled()
    one, two = Caller(at, tenant="greedy"), Caller(at, tenant="greedy")
    await settled()
    modest = Caller(at, tenant="modest")
    assert isinstance(await two.refusal(), Overloaded)
    await holder.go()
    await settled()
    assert modest.inside
    await modest.go()
    await one.go()


def test_a_call_whose_turn_cannot_come_in_time_is_told_before_its_deadline() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        at = gate(max_calls=1)
        teacher = Caller(at)
        await asyncio.sleep(2)
        await teacher.go()
        holder = Caller(at)
        await settled()
        with pytest.raises(Overloaded, match="no time"):  # two seconds of waiting, two of work
            async with at.admitted("t", 1, deadline=loop.time() + 4):
                pass
        assert loop.time() == 2
        waiter = Caller(at, deadline=loop.time() + 5)
        assert isinstance(await waiter.refusal(), Overloaded)
        assert loop.time() == 2 + 5 - 2
        await holder.go()

    run(main())


def test_after_a_slow_time_one_call_is_always_tried() -> None:
    async def main() -> None:
        at = gate(max_calls=8)
        slow = Caller(at)
        await asyncio.sleep(100)
        await slow.go()
        async with at.admitted("t", 1, deadline=asyncio.get_running_loop().time() + 1):
            pass

    run(main())


async def test_shrinking_bounds_leave_nobody_waiting_for_ever() -> None:
    policy = AdmissionPolicy(max_calls=1, max_pixels=100)
    at = Gate(lambda: policy)
    holder = Caller(at)
    large = Caller(at, 90)
    await settled()
    policy = AdmissionPolicy(max_calls=1, max_pixels=10)
    await holder.go()
    await settled()
    assert large.inside
    await large.go()


async def test_fewer_places_to_wait_are_for_newcomers() -> None:
    policy = AdmissionPolicy(max_calls=1, max_waiting=3)
    at = Gate(lambda: policy)
    callers = [Caller(at) for _ in range(4)]
    await settled()
    policy = AdmissionPolicy(max_calls=1, max_waiting=1)
    assert isinstance(await Caller(at).refusal(), Overloaded)
    assert at.waiting == 3
    for caller in callers:
        await caller.go()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("come"),
            st.integers(0, 6),
            st.sampled_from("abc"),
            st.sampled_from(Priority),
            st.sampled_from([0.5, 3.0, FAR]),
        ),
        st.tuples(st.sampled_from(["go", "cancel", "cancel_unsettled"]), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.sampled_from([0.2, 1.0])),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(ACTIONS, st.sampled_from([0.3, 1.0]), st.integers(0, 5))
def test_any_order_of_events_keeps_the_bounds_and_leaves_nothing_behind(
    actions: list[tuple], tenant_share: float, max_waiting: int
) -> None:
    bounds = AdmissionPolicy(max_pixels=10, max_calls=3, max_waiting=max_waiting, tenant_share=tenant_share)

    async def main() -> None:
        at = Gate(lambda: bounds)
        callers: list[Caller] = []
        async with AsyncExitStack() as stack:
            for action in actions:
                await act(at, callers, stack, *action)
                check(at, callers)
        assert (at.in_flight, at.waiting, at.pixels) == (0, 0, 0)

    async def act(at: Gate, callers: list[Caller], stack: AsyncExitStack, what: str, *how: object) -> None:
        here = [caller for caller in callers if not caller.task.done()]
        if what == "come":
            pixels, tenant, priority, seconds = how
            deadline = asyncio.get_running_loop().time() + seconds
            callers.append(Caller(at, pixels, tenant, priority, deadline))
            stack.push_async_callback(callers[-1].cancel)
        elif what == "pass":
            await asyncio.sleep(how[0])
        elif here:
            caller = here[how[0] % len(here)]
            if what == "go" and caller.inside:
                await caller.go()
            elif what == "cancel_unsettled" and (inside := [other for other in here if other.inside]):
                inside[0].task.cancel()  # and at once, as its place is passed on:
                caller.task.cancel()
            elif what == "cancel":
                await caller.cancel()
        await settled()

    def check(at: Gate, callers: list[Caller]) -> None:
        inside = [caller for caller in callers if caller.inside]
        assert at.in_flight == len(inside) <= bounds.max_calls
        assert at.pixels == sum(caller.pixels for caller in inside) <= bounds.max_pixels
        here = [caller for caller in callers if not caller.task.done()]
        assert at.waiting == len(here) - len(inside) <= bounds.max_waiting
        if at.waiting:  # nobody waits while there is room for any of them
            lightest = max(caller.pixels for caller in here if not caller.inside)
            assert len(inside) == bounds.max_calls or at.pixels + lightest > bounds.max_pixels

    run(main())
