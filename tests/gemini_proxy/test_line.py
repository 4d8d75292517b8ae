import asyncio
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.accounts.books import Lease
from services.gemini_proxy.line import Line, Waiter
from services.gemini_proxy.question import Priority
from tests.gemini_proxy.accounts.samples import claim

MANY = 10_000

tenants = st.sampled_from("abc")
priorities = st.sampled_from(Priority)
joins = st.tuples(st.just("join"), tenants, priorities)
steps = st.lists(st.one_of(joins, joins, st.just("serve"), st.integers(0, 20)), max_size=60)
"""Someone joins, the first is served, or the one at a place leaves."""


def waiter(tenant: str, priority: Priority = Priority.NORMAL) -> Waiter:
    return Waiter(claim(tenant=tenant), priority, deadline=0.0)


def serve_first(line: Line) -> Waiter:
    first = line.first()
    line.serve(first, Lease(first.claim.attempt_id, "a"))
    return first


def serve_all(line: Line) -> list[Waiter]:
    return [serve_first(line) for _ in range(len(line))]


@given(steps, tenants, priorities)
def test_those_ahead_of_a_newcomer_are_those_served_before_it(steps, tenant, priority) -> None:
    async def main() -> None:
        line = Line()
        for step in steps:
            match step:
                case "join", joining, urgency:
                    line.add(waiter(joining, urgency))
                case "serve" if len(line):
                    serve_first(line)
                case int(place) if place < len(line):
                    line.leave(list(line)[place])
        newcomer = waiter(tenant, priority)
        ahead = line.ahead_of(newcomer, most=MANY)
        assert line.ahead_of(newcomer, most=3) == ahead[:3]
        line.add(newcomer)
        order = list(line)
        served = serve_all(line)
        assert served == order
        assert [before.claim for before in served[: served.index(newcomer)]] == ahead
        assert [w.priority.value for w in served] == sorted((w.priority.value for w in served), reverse=True)

    asyncio.run(main())


@given(steps)
def test_nobody_is_served_twice_while_another_tenant_of_its_priority_waits_for_its_turn(steps) -> None:
    async def main() -> None:
        line = Line()
        clock = count()
        joined: dict[Waiter, int] = {}
        last_served: dict[tuple[Priority, str], int] = {}
        for step in (*steps, *["serve"] * 60):
            match step:
                case "join", tenant, priority:
                    someone = waiter(tenant, priority)
                    joined[someone] = next(clock)
                    line.add(someone)
                case "serve" if len(line):
                    first = serve_first(line)
                    own_turn = last_served.get((first.priority, first.claim.tenant), -1)
                    for other in line:
                        if other.priority is first.priority and other.claim.tenant != first.claim.tenant:
                            others_turn = last_served.get((other.priority, other.claim.tenant), -1)
                            # Else it has waited since before the first one's last turn, and had none since.
                            assert not max(joined[other], others_turn) < own_turn
                    last_served[first.priority, first.claim.tenant] = next(clock)
                case int(place) if place < len(line):
                    line.leave(list(line)[place])
        assert not len(line)

    asyncio.run(main())


async def test_calls_that_are_given_up_cost_their_tenant_no_turn() -> None:
    line = Line()
    gone = [waiter("a") for _ in range(100)]
    for someone in gone:
        line.add(someone)
    others = [waiter("b") for _ in range(5)]
    for someone in others:
        line.add(someone)
    for someone in gone:
        line.leave(someone)
    late = waiter("a")
    line.add(late)
    assert serve_all(line) == [others[0], late, *others[1:]]
