"""Room for the bytes of media, which are in memory from a call's arrival to its end.

What does not fit is refused at once. The lower priorities leave a part of the room to the higher ones. Within that a
tenant may hold no more than `FREE_TIMES` of what is free (https://doi.org/10.1109/infcom.1996.493364): one alone has
nearly all of it, and a flood leaves room to those who ask for little.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chiasm.v1 import errors_pb2
from services.gateway.admission.observation import refused
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import InvalidArgument, Overloaded

FILLABLE = {Priority.LOW: 0.8, Priority.NORMAL: 0.9, Priority.HIGH: 1.0}
"""Share of the bytes up to which calls of a priority may fill them."""
FREE_TIMES = 16


class ByteRoom:
    """For one event loop.

    Args:
        policy: gives the bound as it is now; whoever is in stays when it shrinks.
    """

    def __init__(self, policy: Callable[[], AdmissionPolicy]) -> None:
        self._policy = policy
        self._held: Counter[str] = Counter()

    @property
    def bytes(self) -> int:
        """That are held."""
        return self._held.total()

    @contextmanager
    def held(self, tenant: str, size: int, priority: Priority) -> Iterator[None]:
        """Holds `size` bytes while the block runs.

        Raises:
            InvalidArgument: there is never so much room.
            Overloaded: there is not so much room now.
        """
        most = self._policy().max_bytes
        if size > most:
            raise InvalidArgument(
                f"the media have {size:,} bytes; this gateway takes on {most:,} at once",
                field="messages",
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        free = FILLABLE[priority] * most - self.bytes
        # Where nothing is held it is let in, or what is larger than its priority's part never was.
        if size and self.bytes and (size > free or self._held[tenant] > FREE_TIMES * free):
            refused("bytes")
            raise Overloaded(f"overloaded: requests of {most:,} bytes in all are taken on at once")
        self._held[tenant] += size
        try:
            yield
        finally:
            self._held[tenant] -= size
            if not self._held[tenant]:
                del self._held[tenant]
