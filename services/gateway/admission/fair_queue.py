"""Who waits, and whose turn it is: priorities first, then fair shares, then who came first.

Priorities are served in their order, but one in `TURNS` turns goes to the lowest that waits and another one to the
lowest but one, so that none waits for ever. Within a priority tenants share by start-time fair queueing
(https://doi.org/10.1109/90.649569): each has a tag that grows by cost / share with each of its calls, and the
lowest tag is next. Within a tenant the first is next.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from services.gateway.admission.priority import Priority
from services.runtime.errors import ChiasmError

TURNS = 20
"""One of this many turns is a lower priority's own: 5 %. The same part of the places to wait is kept for each."""


@dataclass(eq=False)
class Waiter:
    """A call that is in the gate."""

    tenant: str
    pixels: int
    priority: Priority
    deadline: float
    """By the event loop's clock, in seconds."""
    share: float
    """Of its tenant, above 0, relative to the others' shares."""
    cost: float
    """What it takes of the scarcest bound, 0 to 1."""
    kind: Hashable
    """Calls of the same kind take about as long."""
    turn: asyncio.Future[ChiasmError | None] = field(repr=False)
    """Done when it may begin, with None, or when it is refused, with why."""


class _TenantQueue:
    """The calls of a tenant with one priority that wait."""

    def __init__(self, tag: float) -> None:
        self.tag = tag
        self.waiters: deque[Waiter] = deque()

    @property
    def head(self) -> Waiter:
        return self.waiters[0]

    @property
    def backlog(self) -> float:
        """How much waits, relative to the tenant's share."""
        return len(self.waiters) / self.head.share

    def tag_after(self, count: int) -> float:
        """The tag once `count` more calls like the first were served."""
        return self.tag + count * self.head.cost / self.head.share

    def served_before(self, tag: float) -> int:
        """Calls that have their turn before one with this tag."""
        return max(0, min(len(self.waiters), math.ceil((tag - self.tag) * self.head.share / self.head.cost)))


class _PriorityQueue:
    """The calls of one priority that wait."""

    def __init__(self) -> None:
        self.tenants: dict[str, _TenantQueue] = {}
        self._now = 0.0
        self._left: dict[str, float] = {}  # tags of tenants that have nothing waiting, where they are ahead of `_now`

    def __len__(self) -> int:
        return sum(len(queue.waiters) for queue in self.tenants.values())

    def __iter__(self) -> Iterator[Waiter]:
        for queue in self.tenants.values():
            yield from queue.waiters

    def add(self, waiter: Waiter) -> None:
        if waiter.tenant not in self.tenants:
            self.tenants[waiter.tenant] = _TenantQueue(max(self._now, self._left.pop(waiter.tenant, 0.0)))
        self.tenants[waiter.tenant].waiters.append(waiter)

    def remove(self, waiter: Waiter, *, served: bool) -> None:
        queue = self.tenants[waiter.tenant]
        if served:
            self._now = max(self._now, queue.tag)
            queue.tag = queue.tag_after(1)
        queue.waiters.remove(waiter)
        if not queue.waiters:
            del self.tenants[waiter.tenant]
            self._left = {tenant: tag for tenant, tag in self._left.items() if tag > self._now}
            self._left[waiter.tenant] = queue.tag

    def next(self, may_begin: Callable[[Waiter], bool]) -> Waiter | None:
        queues = [queue for queue in self.tenants.values() if may_begin(queue.head)]
        return min(queues, key=lambda queue: queue.tag).head if queues else None

    def ahead_of(self, waiter: Waiter) -> int:
        """Calls that have their turn before `waiter`, the last of its tenant."""
        own = self.tenants[waiter.tenant]
        tag = own.tag_after(len(own.waiters) - 1)
        others = (queue.served_before(tag) for queue in self.tenants.values() if queue is not own)
        return len(own.waiters) - 1 + sum(others)

    def longest(self) -> _TenantQueue:
        return max(self.tenants.values(), key=lambda queue: queue.backlog)


class FairQueue:
    """All that wait."""

    def __init__(self) -> None:
        self._queues = {priority: _PriorityQueue() for priority in Priority}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Waiter]:
        for queue in self._queues.values():
            yield from queue

    def add(self, waiter: Waiter) -> None:
        self._queues[waiter.priority].add(waiter)

    def serve(self, waiter: Waiter) -> None:
        """Takes out `waiter`, whose turn it was."""
        self._queues[waiter.priority].remove(waiter, served=True)
        self._turn += 1

    def drop(self, waiter: Waiter) -> None:
        """Takes out `waiter` before its turn."""
        self._queues[waiter.priority].remove(waiter, served=False)

    def next(self, may_begin: Callable[[Waiter], bool]) -> Waiter | None:
        """Whose turn it is among those of tenants whose first call `may_begin`."""
        for priority in self._order():
            if (waiter := self._queues[priority].next(may_begin)) is not None:
                return waiter
        return None

    def ahead_of(self, waiter: Waiter) -> int:
        """About how many have their turn before `waiter`, the last of its tenant, if nobody else came."""
        same = self._queues[waiter.priority].ahead_of(waiter)
        higher = sum(len(self._queues[priority]) for priority in Priority if priority > waiter.priority)
        return min(same + higher, (same + 1) * TURNS)

    def victim(self, newcomer: Waiter, kept: int = 0) -> Waiter | None:
        """Who gives way to `newcomer`, which waits too: the latest of the tenant with most waiting, for its share, in
        the lowest priority that has more waiting than the `kept` places that each may have.

        None where `newcomer` itself has the least right to stay.
        """
        own = self._queues[newcomer.priority]
        lower = [self._queues[priority] for priority in Priority if priority < newcomer.priority]
        if len(own) <= kept:
            lower = [queue for queue in self._queues.values() if queue is not own]
        for queue in lower:
            if len(queue) > kept:
                return queue.longest().waiters[-1]
        longest = own.longest()
        return longest.waiters[-1] if longest.backlog > own.tenants[newcomer.tenant].backlog else None

    def _order(self) -> tuple[Priority, ...]:
        match self._turn % TURNS:
            case 0:
                return Priority.LOW, Priority.HIGH, Priority.NORMAL
            case 10:
                return Priority.NORMAL, Priority.HIGH, Priority.LOW
        return Priority.HIGH, Priority.NORMAL, Priority.LOW
