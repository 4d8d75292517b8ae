"""Who goes first among those who wait: by priority, and within one, tenants take turns.

This is fair queueing by requests (https://www.rfc-editor.org/rfc/rfc970): a tenant with a thousand calls waiting delays
another's first call by one.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, takewhile, zip_longest

from services.gemini_proxy.accounts.books import Claim, Lease, Refusal
from services.gemini_proxy.question import Priority
from services.runtime.errors import ChiasmError

Key = tuple[str, tuple[str, ...], bool]
"""Of a line: the model asked, the members of the pool that may serve it, and whether in batch mode."""


@dataclass(eq=False)
class Waiter:
    claim: Claim
    priority: Priority
    deadline: float
    """On the event loop's clock."""
    lease: asyncio.Future[Lease] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    refusal: Refusal | None = None
    """The latest."""

    @property
    def key(self) -> Key:
        """Of its line."""
        return self.claim.model, self.claim.members, self.claim.batch


_Ring = Mapping[str, Collection[Waiter]]
"""Who waits with one priority, by tenant; the tenant whose turn it is stands first."""


class Line:
    """Those who wait for the same model at the same members."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Someone else may be first."""
        self._rings: dict[Priority, dict[str, deque[Waiter]]] = {
            priority: {} for priority in sorted(Priority, key=lambda priority: priority.value, reverse=True)
        }

    def __len__(self) -> int:
        return sum(len(queue) for ring in self._rings.values() for queue in ring.values())

    def __iter__(self) -> Iterator[Waiter]:
        """In the order in which they are served."""
        return _by_turns(self._rings.values())

    def first(self) -> Waiter | None:
        return next(iter(self), None)

    def ahead_of(self, newcomer: Waiter, *, most: int) -> list[Claim]:
        """Claims that are served before the newcomer's, in their order; the first `most` of them."""
        ring = self._rings[newcomer.priority]
        own = [*ring.get(newcomer.claim.tenant, ()), newcomer]
        rings: Mapping[Priority, _Ring] = self._rings | {newcomer.priority: ring | {newcomer.claim.tenant: own}}
        before = takewhile(lambda waiter: waiter is not newcomer, _by_turns(rings.values()))
        return [waiter.claim for waiter in islice(before, most)]

    def add(self, waiter: Waiter) -> None:
        self._rings[waiter.priority].setdefault(waiter.claim.tenant, deque()).append(waiter)
        if self.first() is waiter:
            self.changed.set()

    def serve(self, waiter: Waiter, lease: Lease) -> None:
        """Its tenant has had its turn."""
        self.leave(waiter)
        waiter.lease.set_result(lease)
        ring = self._rings[waiter.priority]
        if queue := ring.pop(waiter.claim.tenant, None):
            ring[waiter.claim.tenant] = queue

    def refuse(self, waiter: Waiter, error: ChiasmError) -> None:
        self.leave(waiter)
        waiter.lease.set_exception(error)

    def leave(self, waiter: Waiter) -> None:
        ring = self._rings[waiter.priority]
        ring[waiter.claim.tenant].remove(waiter)
        if not ring[waiter.claim.tenant]:
            del ring[waiter.claim.tenant]
        self.changed.set()


def _by_turns(rings: Collection[_Ring]) -> Iterator[Waiter]:
    for ring in rings:
        for turn in zip_longest(*ring.values()):
            yield from (waiter for waiter in turn if waiter is not None)
