"""Waiting for room in the limits: fair by tenant, by priority, bounded, and never beyond a deadline.

Fairness holds within a process; replicas behind one balancer get equal shares of each tenant's calls.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from chiasm.v1 import errors_pb2
from services.gemini_proxy.accounts.books import Books, Claim, Dimension, Lease, Outcome, Refusal, Settlement
from services.gemini_proxy.line import Key, Line, Waiter
from services.gemini_proxy.question import Priority
from services.gemini_proxy.usage import TokenUsage
from services.runtime.errors import ChiasmError, Overloaded, QuotaExhausted, Unavailable, Violation

logger = logging.getLogger(__name__)

# The books say when there is room as the windows stand; what is given back earlier is found out by looking.
LOOK_AGAIN_S = 0.25
# The books work through those ahead one by one, for every call that comes. Where there are more, one may be let in to
# wait in vain; none is refused in vain.
MOST_AHEAD = 64
MINUTE_S = 60.0

_BUDGETS = (Dimension.BUDGET_DAY, Dimension.BUDGET_MONTH)


class WaitingRoom:
    """Gives leases in a fair order while it is `open`."""

    def __init__(self, books: Books, *, max_waiting: int) -> None:
        self._books = books
        self._max_waiting = max_waiting
        self._lines: dict[Key, Line] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def waiting(self) -> int:
        return sum(map(len, self._lines.values()))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serves those who wait for as long as the block lasts. A fault in it fails the block."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                yield
            finally:
                self._tasks = None
                for line in self._lines.values():
                    for waiter in list(line):
                        line.refuse(waiter, _closed())

    async def lease(self, claim: Claim, priority: Priority, *, timeout_s: float) -> Lease:
        """Room for `claim` within `timeout_s` seconds. A caller that is cancelled holds nothing.

        Raises QuotaExhausted, at once where there will be no room in that time; Overloaded where too many wait;
        Unavailable where there is no room and nobody is served any more; and what the books raise.
        """
        waiter = Waiter(claim, priority, asyncio.get_running_loop().time() + timeout_s)
        line = self._lines.get(waiter.key)
        if line and (ahead := line.ahead_of(waiter, most=MOST_AHEAD)):
            self._who_must_leave(waiter)
            answer = await self._books.reserve(claim, ahead=ahead)
        else:
            answer = await self._reserve(claim)
            if isinstance(answer, Lease):
                return answer
        if isinstance(answer, Refusal):
            waiter.refusal = answer
            if _in_vain(waiter):
                raise _exhausted(answer, claim)
        self._let_in(waiter)
        return await self._wait(waiter)

    def _who_must_leave(self, newcomer: Waiter) -> Waiter | None:
        """In a full room the last one, of the lowest priority, of the tenant that has the most there.

        Raises Overloaded where that would be the newcomer.
        """
        if self.waiting < self._max_waiting:
            return None
        waiters = [waiter for line in self._lines.values() for waiter in line]
        counts = Counter((waiter.priority, waiter.claim.tenant) for waiter in (*waiters, newcomer))

        def weight(waiter: Waiter) -> tuple[int, int]:
            return -waiter.priority.value, counts[waiter.priority, waiter.claim.tenant]

        last = max(reversed(waiters), key=weight)
        if weight(last) <= weight(newcomer):
            raise self._full()
        return last

    def _let_in(self, waiter: Waiter) -> None:
        if self._tasks is None:
            raise _closed()
        if last := self._who_must_leave(waiter):
            self._lines[last.key].refuse(last, self._full())
        if waiter.key not in self._lines:
            self._lines[waiter.key] = Line()
            self._tasks.create_task(self._serve(waiter.key), name=f"waiting for {waiter.claim.model}")
        self._lines[waiter.key].add(waiter)

    def _full(self) -> Overloaded:
        return Overloaded(f"{self._max_waiting:,} calls wait for the provider's limits already")

    async def _wait(self, waiter: Waiter) -> Lease:
        taken = False
        try:
            async with asyncio.timeout_at(waiter.deadline):
                lease = await asyncio.shield(waiter.lease)
                taken = True
            return lease
        except TimeoutError:
            if waiter.refusal is None:
                raise Overloaded("others wait for the provider's limits, and there was no turn in time") from None
            raise _exhausted(waiter.refusal, waiter.claim) from None
        finally:
            if not taken:
                await self._leave(waiter)

    async def _leave(self, waiter: Waiter) -> None:
        """Leaves the line; a lease that came just then is given back."""
        if not waiter.lease.done():
            waiter.lease.cancel()
            self._lines[waiter.key].leave(waiter)
        elif waiter.lease.exception() is None:
            await self._give_back(waiter.lease.result())

    async def _serve(self, key: Key) -> None:
        """Serves one line until it is empty."""
        line = self._lines[key]
        while (waiter := line.first()) is not None:
            line.changed.clear()
            try:
                answer = await self._reserve(waiter.claim)
            except ChiasmError as error:
                if not waiter.lease.done():
                    line.refuse(waiter, error)
                continue
            if waiter.lease.done():
                if isinstance(answer, Lease):
                    await self._give_back(answer)
            elif isinstance(answer, Lease):
                line.serve(waiter, answer)
            else:
                waiter.refusal = answer
                if _in_vain(waiter):
                    line.refuse(waiter, _exhausted(answer, waiter.claim))
                else:
                    await self._pause(line, min(answer.retry_after_s, LOOK_AGAIN_S))
        del self._lines[key]

    async def _pause(self, line: Line, seconds: float) -> None:
        """Until someone else may be first, or for `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await line.changed.wait()

    async def _reserve(self, claim: Claim) -> Lease | Refusal:
        """What the books say; a lease that nobody is left to take is given back."""
        asking = asyncio.ensure_future(self._books.reserve(claim))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(ChiasmError):
                if isinstance(answer := await asking, Lease):
                    await self._give_back(answer)
            raise

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._books.settle(
                Settlement(lease.attempt_id, Outcome.CANCELLED, TokenUsage(), 0, answered_by="", sent=False)
            )
        except ChiasmError as error:
            # It ends by itself, and is booked as lost.
            logger.warning("the lease of attempt %s could not be given back: %s", lease.attempt_id, error.message)


def _in_vain(waiter: Waiter) -> bool:
    """Whether waiting for what was refused last would not help."""
    refusal = waiter.refusal
    if refusal.retry_after_s is None or refusal.dimension in _BUDGETS:
        return True
    return asyncio.get_running_loop().time() + refusal.retry_after_s > waiter.deadline


def _closed() -> Unavailable:
    return Unavailable("nobody waits here any more", reason=errors_pb2.ERROR_REASON_SHUTTING_DOWN)


def _exhausted(refusal: Refusal, claim: Claim) -> QuotaExhausted:
    if refusal.dimension in _BUDGETS:
        period = "day" if refusal.dimension is Dimension.BUDGET_DAY else "month"
        return QuotaExhausted(
            f"the budget of {claim.tenant!r} for the {period}, {refusal.limit:,} nano-dollars, has no room for this "
            f"call, which may cost {claim.cost_nanousd:,}",
            reason=errors_pb2.ERROR_REASON_BUDGET_EXHAUSTED,
            violation=Violation(f"tenants/{claim.tenant}", refusal.dimension.value, refusal.limit),
            retry_after_s=refusal.retry_after_s,
        )
    wait_s = refusal.retry_after_s
    if refusal.dimension is Dimension.INPUT_TOKENS_PER_MINUTE and wait_s is not None:
        # Those ahead stand there with their worst case, most of which will have been given back in a minute.
        wait_s = min(wait_s, MINUTE_S)
    return QuotaExhausted(
        f"{refusal.dimension.value} of models/{claim.model}, {refusal.limit:,}, has no room in the time given",
        violation=Violation(f"models/{claim.model}", refusal.dimension.value, refusal.limit),
        retry_after_s=wait_s,
    )
