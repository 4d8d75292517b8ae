"""A bound on what is held at once, and a line before it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.runtime.errors import Overloaded


class Room:
    """At most `most` of anything counted; what is larger than all of it is taken into the empty room."""

    def __init__(self, most: int, unit: str = "bytes") -> None:
        """`unit` is what is counted, as refusals name it."""
        self._most = most
        self._unit = unit
        self._held = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, amount: int, *, patient: bool) -> AsyncIterator[None]:
        """Holds `amount`; who is patient waits in line for it. Raises Overloaded where others find no room."""
        if patient:
            await self.enter(amount)
        else:
            self._take(amount)
        try:
            yield
        finally:
            self.leave(amount)

    async def enter(self, amount: int) -> None:
        """Waits until it holds `amount`, which `leave` must give back."""
        if not self._line and self._fits(amount):
            self._held += amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_in()  # who stands behind may be smaller
            else:
                self.leave(amount)  # it was let in while it left
            raise

    def leave(self, amount: int) -> None:
        """Gives `amount` back."""
        self._held -= amount
        self._let_in()

    def _take(self, amount: int) -> None:
        if not self._fits(amount):
            raise Overloaded(f"{self._held:,} {self._unit} wait to be embedded; with {amount:,} more it is too many")
        self._held += amount

    def _let_in(self) -> None:
        while self._line:
            amount, turn = self._line[0]
            if not turn.cancelled():
                if not self._fits(amount):
                    return
                self._held += amount
                turn.set_result(None)
            self._line.popleft()

    def _fits(self, amount: int) -> bool:
        return not amount or not self._held or self._held + amount <= self._most
