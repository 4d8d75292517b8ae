"""The gate: lets calls begin within the bounds, keeps those that can wait, refuses those that cannot be served in time.

- Pixels and calls count from a call's beginning; for those a call waits its turn (`fair_queue.py`).
- A call that by the recent pace (`pace.py`) would not end by its deadline is refused: at the door by what waits before
  it, again at its turn, and while it waits as soon as even the fastest call would end late. So under overload no
  capacity goes to answers that nobody gets, and goodput stays flat.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager

from chiasm.v1 import errors_pb2
from services.gateway.admission.fair_queue import TURNS, FairQueue, Waiter
from services.gateway.admission.observation import refused
from services.gateway.admission.pace import Paces
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from services.runtime.errors import InvalidArgument, Overloaded

SPENDABLE = 0.9
"""Of the time until a deadline, what a call's predicted time may take."""
ERRORS = 4
"""Where calls wait, a prediction has so many times its mean error on top, as TCP's retransmission timer has it
(https://datatracker.ietf.org/doc/html/rfc6298). They may wait here; or in the servers, as far as load explains
times."""
LEAST_RETRY_S, MOST_RETRY_S = 0.1, 60.0


class Admission:
    """A call that has begun."""

    def __init__(self, in_flight: int, began: float) -> None:
        self.in_flight = in_flight
        self.began = began
        self.worked = False

    def answered(self) -> None:
        """A model worked at this call and answered: its time says what the next may expect."""
        self.worked = True


class Gate:
    """For one event loop.

    Args:
        policy: gives the bounds as they are now; whoever is in stays when they shrink.
    """

    def __init__(self, policy: Callable[[], AdmissionPolicy]) -> None:
        self._policy = policy
        self._queue = FairQueue()
        self._paces = Paces()
        self._begun: dict[Waiter, Admission] = {}
        self._pixels = 0
        self._calls_of: Counter[str] = Counter()
        self._pixels_of: Counter[str] = Counter()

    @property
    def pixels(self) -> int:
        """Of the calls that have begun."""
        return self._pixels

    @property
    def in_flight(self) -> int:
        """Calls that have begun."""
        return len(self._begun)

    @property
    def waiting(self) -> int:
        """Calls that wait their turn."""
        return len(self._queue)

    @asynccontextmanager
    async def admitted(
        self,
        tenant: str,
        pixels: int,
        *,
        priority: Priority = Priority.NORMAL,
        deadline: float,
        share: float = 1.0,
        kind: Hashable = None,
    ) -> AsyncIterator[Admission]:
        """The block runs within the bounds, after a wait where others are before it.

        Args:
            tenant: whose call it is.
            pixels: what it takes of them.
            priority: its priority.
            deadline: when it must have ended, by the event loop's clock in seconds.
            share: of the tenant where tenants compete, above 0.
            kind: calls of the same kind take about as long.

        Raises:
            InvalidArgument: it takes more than there ever is.
            Overloaded: it would not end by its deadline, or there is no place to wait; says when to come again.
        """
        bounds = self._policy()
        if pixels > bounds.max_pixels:
            raise InvalidArgument(
                f"the media have {pixels:,} pixels; this gateway takes on {bounds.max_pixels:,} at once",
                field="messages",
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        cost = max(1 / bounds.max_calls, pixels / bounds.max_pixels)
        turn = asyncio.get_running_loop().create_future()
        waiter = Waiter(tenant, pixels, priority, deadline, share, cost, kind, turn)
        self._queue.add(waiter)
        try:
            self._advance()
            self._keep_places(waiter)
            await self._turn(waiter)
            yield self._begun[waiter]
        finally:
            self._leave(waiter)

    def _keep_places(self, newcomer: Waiter) -> None:
        """Refuses `newcomer` where it would end late; it or one with less right to be here where there is no place."""
        if not newcomer.turn.done() and self._ends_late(newcomer):
            self._refuse(newcomer, "late", "the calls before this one leave it no time until its deadline")
        places = self._policy().max_waiting
        while len(self._queue) > places and not newcomer.turn.done():
            victim = self._queue.victim(newcomer, kept=places // TURNS) or newcomer
            self._refuse(victim, "places", f"{places:,} calls wait already")

    async def _turn(self, waiter: Waiter) -> None:
        if not waiter.turn.done():
            try:
                async with asyncio.timeout_at(waiter.deadline - self._paces.of(waiter.kind).fastest_s):
                    # Not `await waiter.turn`: a cancellation would end it while its turn may still come.
                    await asyncio.wait([waiter.turn])
            except TimeoutError:
                raise self._overloaded("late", "its turn did not come in time") from None
        if (refusal := waiter.turn.result()) is not None:
            raise refusal

    def _advance(self) -> None:
        """Lets calls begin, in their order, until the next one does not fit."""
        now = asyncio.get_running_loop().time()
        while (waiter := self._next()) is not None and self._fits(waiter):
            in_flight = len(self._begun) + 1
            call_s = self._call_s(waiter, in_flight, others_wait=len(self._queue) > 1)
            # One is always let in: what nobody tries, nobody learns.
            if self._begun and call_s > SPENDABLE * (waiter.deadline - now):
                self._refuse(waiter, "late", "a call takes longer now than is left until its deadline")
                continue
            self._queue.serve(waiter)
            self._begun[waiter] = Admission(in_flight, now)
            self._take(waiter, 1)
            waiter.turn.set_result(None)

    def _next(self) -> Waiter | None:
        """Whose turn it is; where others wait, tenants that have their part of the bounds are passed over."""
        return self._queue.next(self._within_tenant_share) or self._queue.next(lambda _: True)

    def _within_tenant_share(self, waiter: Waiter) -> bool:
        bounds = self._policy()
        if bounds.tenant_share == 1:
            return True
        calls, pixels = self._calls_of[waiter.tenant], self._pixels_of[waiter.tenant] + waiter.pixels
        share = bounds.tenant_share
        return not calls or (calls < share * bounds.max_calls and pixels <= share * bounds.max_pixels)

    def _fits(self, waiter: Waiter) -> bool:
        bounds = self._policy()
        within = len(self._begun) < bounds.max_calls and self._pixels + waiter.pixels <= bounds.max_pixels
        return within or not self._begun  # the bounds may have shrunk since it came

    def _take(self, waiter: Waiter, times: int) -> None:
        pixels = times * waiter.pixels
        self._pixels += pixels
        self._pixels_of[waiter.tenant] += pixels
        self._calls_of[waiter.tenant] += times
        if not self._calls_of[waiter.tenant]:
            del self._calls_of[waiter.tenant], self._pixels_of[waiter.tenant]

    def _ends_late(self, waiter: Waiter) -> bool:
        """Of one that waits."""
        wait_s = self._wait_s(self._queue.ahead_of(waiter) + 1)
        call_s = self._call_s(waiter, max(1, len(self._begun)), others_wait=True)
        return wait_s + call_s > SPENDABLE * (waiter.deadline - asyncio.get_running_loop().time())

    def _call_s(self, waiter: Waiter, in_flight: int, *, others_wait: bool) -> float:
        """Seconds within which a call that begins as one of `in_flight` likely ends; 0 when unknown."""
        pace = self._paces.of(waiter.kind)
        return pace.call_s(in_flight) + ERRORS * pace.error_s * (1.0 if others_wait else pace.explained)

    def _wait_s(self, ahead: int) -> float:
        """Seconds until `ahead` calls have begun after those that hold all room now; 0 when unknown."""
        in_flight = len(self._begun)
        kinds = Counter(waiter.kind for waiter in self._begun)
        paces = ((count, self._paces.of(kind).call_s(in_flight)) for kind, count in kinds.items())
        calls_per_s = sum(count / call_s for count, call_s in paces if call_s)
        return ahead / calls_per_s if calls_per_s else 0.0

    def _leave(self, waiter: Waiter) -> None:
        if (admission := self._begun.pop(waiter, None)) is not None:
            self._take(waiter, -1)
            now = asyncio.get_running_loop().time()
            if admission.worked or now >= waiter.deadline:
                self._paces.learn(waiter.kind, admission.in_flight, now - admission.began)
        elif waiter in self._queue:
            self._queue.drop(waiter)
        self._advance()

    def _refuse(self, waiter: Waiter, why: str, message: str) -> None:
        self._queue.drop(waiter)
        waiter.turn.set_result(self._overloaded(why, message))

    def _overloaded(self, why: str, message: str) -> Overloaded:
        refused(why)
        wait_s = self._wait_s(len(self._queue) + 1) or Overloaded.default_retry_after_s
        return Overloaded(f"overloaded: {message}", retry_after_s=min(max(wait_s, LEAST_RETRY_S), MOST_RETRY_S))
