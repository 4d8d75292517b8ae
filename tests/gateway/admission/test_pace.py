"""What is foreseen of calls that a gateway with room to spare takes on; in virtual time."""

import asyncio
import random
from collections.abc import Callable

import pytest

from services.gateway.admission.gate import Gate
from services.gateway.admission.pace import Pace, Paces
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import Overloaded
from tests.gateway.admission.load import Kind, Outcome, drive
from tests.gateway.admission.virtual_time import run

BOUNDS = AdmissionPolicy()


async def admitted(gate: Gate, seconds: float, *, timeout_s: float, kind: str = "") -> bool:
    """Whether a call that takes so long is."""
    try:
        async with gate.admitted("t", 1, deadline=asyncio.get_running_loop().time() + timeout_s, kind=kind) as call:
            await asyncio.sleep(seconds)
            call.answered()
    except Overloaded:
        return False
    return True


def test_after_calls_one_by_one_several_at_once_are_no_overload() -> None:
    async def main() -> None:
        gate = Gate(lambda: BOUNDS)
        for _ in range(3):
            for _ in range(40):
                assert await admitted(gate, 2, timeout_s=8)
            assert all(await asyncio.gather(*(admitted(gate, 2, timeout_s=8) for _ in range(8))))

    run(main())


def test_slow_and_fast_models_side_by_side_are_no_overload() -> None:
    async def caller(gate: Gate, kind: str, seconds: float, calls: int) -> list[bool]:
        return [await admitted(gate, seconds, timeout_s=30, kind=kind) for _ in range(calls)]

    async def main() -> None:
        gate = Gate(lambda: BOUNDS)
        slow, fast = (caller(gate, "slow", 20, 30) for _ in range(3)), (caller(gate, "fast", 0.2, 60) for _ in range(3))
        assert all(all(calls) for calls in await asyncio.gather(*slow, *fast))

    run(main())


@pytest.mark.parametrize(("calls_per_s", "timeout_s"), [(0.7, 6), (2, 4), (5, 4), (20, 8)])
def test_times_that_vary_by_themselves_are_no_overload(calls_per_s: float, timeout_s: float) -> None:
    async def main() -> Outcome:
        chance = random.Random(3)
        work: Callable[[], asyncio.Future] = lambda: asyncio.sleep(chance.expovariate(1))  # noqa: E731
        (outcome,) = await drive(BOUNDS, work, [Kind(calls_per_s, timeout_s=timeout_s)], seconds=200)
        return outcome

    assert run(main()).refused == 0


def test_calls_that_were_slower_with_more_in_flight_are_foreseen_to_be() -> None:
    pace = Pace()
    for in_flight in [10, 20, 30, 40] * 20:
        pace.learn(in_flight, in_flight / 10)
    assert pace.call_s(80) == pytest.approx(8, rel=0.05)
    assert pace.call_s(10) == pytest.approx(1, rel=0.1)
    assert pace.explained == pytest.approx(1)
    assert pace.error_s < 0.5


def test_kinds_are_bounded() -> None:
    paces = Paces()
    for kind in range(5_000):
        paces.learn(kind, 1, 2.0)
    assert paces.of(4_999).call_s(1) == 2
    assert paces.of(0).call_s(1) == 0
