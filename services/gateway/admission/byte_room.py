"""Room for the bytes of media, which are in memory from a call's arrival to its end.

What does not fit is refused at once, or waits its turn where it can. The lower priorities leave a part of the room to
the higher ones. Within that a tenant may hold no more than `FREE_TIMES` of what is free
(https://doi.org/10.1109/infcom.1996.493364): one alone has nearly all of it, and a flood leaves room to those who ask
for little.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from chiasm.v1 import errors_pb2
from services.gateway.admission.observation import refused
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import DeadlineExceeded, InvalidArgument, Overloaded

FILLABLE = {Priority.LOW: 0.8, Priority.NORMAL: 0.9, Priority.HIGH: 1.0}
"""Share of the bytes up to which calls of a priority may fill them."""
FREE_TIMES = 16


@dataclass(eq=False)
class _Place:
    """What somebody holds, or waits for."""

    tenant: str
    size: int
    priority: Priority
    turn: asyncio.Future[None] | None = None
    """Done once it is held; None where it was at once."""


class ByteRoom:
    """For one event loop.

    Args:
        policy: gives the bound as it is now; whoever is in stays when it shrinks.
    """

    def __init__(self, policy: Callable[[], AdmissionPolicy]) -> None:
        self._policy = policy
        self._held: Counter[str] = Counter()
        self._waiting: list[_Place] = []

    @property
    def bytes(self) -> int:
        """That are held."""
        return self._held.total()

    @property
    def most(self) -> int:
        """Bytes there is ever room for."""
        return self._policy().max_bytes

    @property
    def waiting(self) -> int:
        """Those that wait their turn."""
        return len(self._waiting)

    @contextmanager
    def held(self, tenant: str, size: int, priority: Priority, *, field: str = "messages") -> Iterator[None]:
        """Holds `size` bytes of the request's `field` while the block runs.

        Raises:
            InvalidArgument: there is never so much room.
            Overloaded: there is not so much room now.
        """
        self._check(size, field)
        place = _Place(tenant, size, priority)
        if not self._fits(place):
            raise self._overloaded()
        self._take(place, size)
        try:
            yield
        finally:
            self._take(place, -place.size)

    @asynccontextmanager
    async def held_in_turn(
        self, tenant: str, size: int, priority: Priority, deadline: float, *, field: str
    ) -> AsyncIterator[Callable[[int], None]]:
        """The same once there is room, for those who came first before those who come later.

        A tenant that has its part keeps nobody but itself waiting. The block is given what makes `size` another, once
        it is known, whether there is room or not: it raises InvalidArgument where there never is.

        Raises:
            InvalidArgument: there is never so much room.
            Overloaded: too many wait.
            DeadlineExceeded: there was no room by `deadline`, by the event loop's clock.
        """
        self._check(size, field)
        place = _Place(tenant, size, priority, asyncio.get_running_loop().create_future())

        def resize(to: int) -> None:
            self._check(to, field)
            more, place.size = to - place.size, to
            self._take(place, more)

        self._waiting.append(place)
        try:
            self._advance()
            await self._turn(place, deadline)
            yield resize
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
                self._advance()
            else:
                self._take(place, -place.size)

    def _check(self, size: int, field: str) -> None:
        if size > self.most:
            raise InvalidArgument(
                f"the media have {size:,} bytes; this gateway takes on {self.most:,} at once",
                field=field,
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )

    async def _turn(self, place: _Place, deadline: float) -> None:
        if place.turn.done():
            return
        if len(self._waiting) > self._policy().max_waiting:
            raise self._overloaded()
        try:
            async with asyncio.timeout_at(deadline):
                # Not `await place.turn`: a cancellation would end it while its turn may still come.
                await asyncio.wait([place.turn])
        except TimeoutError:
            raise DeadlineExceeded("there was no room for the media in time") from None

    def _free(self, priority: Priority) -> float:
        return FILLABLE[priority] * self.most - self.bytes

    def _fits(self, place: _Place) -> bool:
        # Where nothing is held it is let in, or what is larger than its priority's part never was.
        if not place.size or not self.bytes:
            return True
        free = self._free(place.priority)
        return place.size <= free and self._held[place.tenant] <= FREE_TIMES * free

    def _advance(self) -> None:
        """Lets in who waits, in their order, until there is too little room for the next one; media of no bytes need
        none."""
        is_full = False
        for place in list(self._waiting):
            if self._fits(place) and not (is_full and place.size):
                self._waiting.remove(place)
                self._take(place, place.size)
                place.turn.set_result(None)
            elif place.size > self._free(place.priority):
                is_full = True

    def _take(self, place: _Place, size: int) -> None:
        self._held[place.tenant] += size
        if not self._held[place.tenant]:
            del self._held[place.tenant]
        if size < 0:
            self._advance()

    def _overloaded(self) -> Overloaded:
        refused("bytes")
        return Overloaded(f"overloaded: requests of {self.most:,} bytes in all are taken on at once")
