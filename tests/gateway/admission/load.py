"""Open load on a gate before a model server of known capacity, in virtual time."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.gateway.admission.gate import Gate
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import Overloaded


@dataclass(frozen=True)
class Kind:
    """Calls that are alike."""

    calls_per_s: float
    tenant: str = "one"
    priority: Priority = Priority.NORMAL
    share: float = 1.0
    timeout_s: float = 2.0
    pixels: int = 1_000


@dataclass
class Outcome:
    """What became of the calls of a kind, by when they came."""

    in_time: int = 0
    late: int = 0
    refused: int = 0
    asked: int = 0
    spent: list[float] = field(default_factory=list)
    """Of the calls admitted, the time they took over the time they were given."""

    @property
    def admitted(self) -> int:
        return self.in_time + self.late

    @property
    def p99_spent(self) -> float:
        return sorted(self.spent)[math.ceil(0.99 * len(self.spent)) - 1]


def slots(count: int, seconds: Callable[[], float]) -> Callable[[], Awaitable[None]]:
    """A model server that works at `count` calls at once, first come first served; the others wait in it."""
    free = asyncio.Semaphore(count)

    async def work() -> None:
        async with free:
            await asyncio.sleep(seconds())

    return work


async def drive(
    policy: AdmissionPolicy,
    work: Callable[[], Awaitable[None]],
    kinds: list[Kind],
    *,
    seconds: float,
    gate: Gate | None = None,
    seed: int = 1,
) -> list[Outcome]:
    """Poisson arrivals of each kind for so long; returns when the last call has ended."""
    gate = gate or Gate(lambda: policy)
    outcomes = [Outcome() for _ in kinds]
    async with asyncio.TaskGroup() as group:
        for number, (kind, outcome) in enumerate(zip(kinds, outcomes, strict=True)):
            group.create_task(_arrivals(gate, work, kind, outcome, seconds, random.Random(seed + number), group))
    assert (gate.pixels, gate.in_flight, gate.waiting) == (0, 0, 0)
    return outcomes


async def _arrivals(
    gate: Gate,
    work: Callable[[], Awaitable[None]],
    kind: Kind,
    outcome: Outcome,
    seconds: float,
    chance: random.Random,
    group: asyncio.TaskGroup,
) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() < ends:
        group.create_task(_call(gate, work, kind, outcome))
        await asyncio.sleep(chance.expovariate(kind.calls_per_s))


async def _call(gate: Gate, work: Callable[[], Awaitable[None]], kind: Kind, outcome: Outcome) -> None:
    loop = asyncio.get_running_loop()
    came = loop.time()
    deadline = came + kind.timeout_s
    outcome.asked += 1
    try:
        async with gate.admitted(
            kind.tenant, kind.pixels, priority=kind.priority, deadline=deadline, share=kind.share
        ) as admission:
            try:
                async with asyncio.timeout_at(deadline):
                    await work()
                outcome.in_time += 1
                admission.answered()
            except TimeoutError:
                outcome.late += 1
        outcome.spent.append((loop.time() - came) / kind.timeout_s)
    except Overloaded as refusal:
        assert refusal.retry_after_s > 0
        outcome.refused += 1
