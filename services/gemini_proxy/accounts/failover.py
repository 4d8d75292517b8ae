"""The shared books while they answer, this replica's own while they do not, and back."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from services.gemini_proxy.accounts.books import Booking, Books, Claim, Dimension, Lease, Refusal, Settlement
from services.gemini_proxy.accounts.errors import BooksUnavailable, UnknownAttempt
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.spool import Spool, given_back, origin_of
from services.runtime.errors import ChiasmError, InvalidArgument

logger = logging.getLogger(__name__)

MOST_LATE = 10_000


@dataclass(frozen=True)
class _Begun:
    claim: Claim
    member: str
    at: float


class FailoverBooks(Books):
    """`run` must run: it goes back to the shared books, once they have what the spool holds, and sweeps them.

    Right after the change to the local books, the provider may see a minute's requests counted by the shared books and
    this replica's share besides; its 429 is learned. Nothing of that kind concerns money: hard budgets fail closed.

    Args:
        shared_books: `RedisBooks`, or what behaves like them.
        local_books: take over.
        spool: `local_books`' own.
        probe_s: how often the shared books are tried.
        on_change: told whether the shared books are in use, when that changes.
    """

    def __init__(
        self,
        shared_books: Books,
        local_books: LocalBooks,
        spool: Spool,
        *,
        probe_s: float,
        on_change: Callable[[bool], None] = lambda shared: None,
    ) -> None:
        self._shared_books = shared_books
        self._local_books = local_books
        self._spool = spool
        self._probe_s = probe_s
        self._on_change = on_change
        self._shared = True
        self._begun: dict[str, _Begun] = {}
        self._late: dict[str, Settlement] = {}
        self._wake = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether the shared books are in use."""
        return self._shared

    async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
        if self._shared and not ahead:
            self._late.pop(claim.attempt_id, None)
        answer = await self._reserve_shared(claim, ahead) if self._shared else None
        if answer is None:
            answer = await self._local_books.reserve(claim, ahead=ahead)
        if isinstance(answer, Lease) and not ahead:
            self._late.pop(claim.attempt_id, None)
            if not claim.batch:  # those may be settled by another replica, and are known to the shared books
                self._begun[claim.attempt_id] = _Begun(claim, answer.member, time.time())
        return answer

    async def counted(self, attempt_id: str) -> None:
        """Raises nothing: an attempt whose answer was not noted counts until its settlement."""
        if self._local_books.holds(attempt_id):
            await self._local_books.counted(attempt_id)
        elif self._shared:
            try:
                await self._shared_books.counted(attempt_id)
            except BooksUnavailable:
                self._change(shared=False)

    async def renew(self, attempt_ids: Collection[str]) -> None:
        """Raises nothing: a lease that ends while the shared books are away is corrected by its settlement."""
        leases = [attempt_id for attempt_id in attempt_ids if not self._local_books.holds(attempt_id)]
        if leases and self._shared:
            try:
                await self._shared_books.renew(leases)
            except BooksUnavailable:
                self._change(shared=False)

    async def settle(self, settlement: Settlement) -> Booking:
        """Raises BooksUnavailable when the spool cannot take it either; its reservation is then booked as lost."""
        begun = self._begun.pop(settlement.attempt_id, None)
        self._late.pop(settlement.attempt_id, None)
        if settlement.origin is None and begun is not None:
            settlement = replace(settlement, origin=origin_of(begun.claim, begun.member, began_at=begun.at))
        self._local_books.close(settlement)
        try:
            return await self._settle(settlement)
        except asyncio.CancelledError:
            self._settle_later(settlement)
            raise

    async def learn(
        self, member: str, model: str, dimension: Dimension, *, retry_after_s: float | None, limit: int | None
    ) -> None:
        """Both learn it, so that a change finds it known. Raises nothing."""
        await self._local_books.learn(member, model, dimension, retry_after_s=retry_after_s, limit=limit)
        if self._shared:
            try:
                await self._shared_books.learn(member, model, dimension, retry_after_s=retry_after_s, limit=limit)
            except BooksUnavailable:
                self._change(shared=False)

    async def sweep(self) -> int:
        return await self._shared_books.sweep()

    async def run(self) -> NoReturn:
        while True:
            try:
                await self._tend()
            except (ChiasmError, OSError) as error:
                if isinstance(error, OSError):
                    logger.error("the spool cannot be replayed: %s", error.strerror)
                elif not isinstance(error, BooksUnavailable):
                    logger.error("the shared books cannot be tended: %s", error.message)
                self._change(shared=False)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._probe_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _tend(self) -> None:
        await self._shared_books.sweep()
        if self._spool.size_bytes:
            replayed = await self._spool.replay(self._shared_books)
            logger.info("%d attempts of the spool are in the books", replayed)
        for settlement in list(self._late.values()):
            try:
                await self._shared_books.settle(settlement)
            except (UnknownAttempt, InvalidArgument) as error:
                logger.error("attempt %s cannot be booked: %s", settlement.attempt_id, error.message)
            self._late.pop(settlement.attempt_id, None)
        self._change(shared=True)

    async def _reserve_shared(self, claim: Claim, ahead: Sequence[Claim]) -> Lease | Refusal | None:
        """None when they are away. What they may have held without our hearing of it is given back later, unless the
        claim is made again or settled."""
        call = asyncio.ensure_future(self._shared_books.reserve(claim, ahead=ahead))
        try:
            return await asyncio.shield(call)
        except BooksUnavailable:
            self._change(shared=False)
            if not ahead:
                self._settle_later(given_back(claim, claim.members[0], began_at=time.time()))
            return None
        except asyncio.CancelledError:
            # Not cut: given back before it arrives, it would be held afterwards.
            if not ahead:
                call.add_done_callback(lambda call: self._give_back(claim, call))
            raise

    def _give_back(self, claim: Claim, call: asyncio.Future[Lease | Refusal]) -> None:
        """Of a caller who has left."""
        if call.cancelled() or call.exception() or isinstance(call.result(), Lease):
            self._settle_later(given_back(claim, claim.members[0], began_at=time.time()))

    async def _settle(self, settlement: Settlement) -> Booking:
        if self._shared:
            try:
                booking = await self._shared_books.settle(settlement)
            except BooksUnavailable:
                self._change(shared=False)
            else:
                if self._spool.has_open(settlement.attempt_id):  # its line is closed where it was opened
                    with suppress(BooksUnavailable):
                        await self._spool.settled(settlement)
                return booking
        await self._spool.settled(settlement)
        return Booking.SETTLED

    def _settle_later(self, settlement: Settlement) -> None:
        if len(self._late) < MOST_LATE:  # else its lease ends, and it is booked as lost
            self._late[settlement.attempt_id] = settlement
        self._wake.set()

    def _change(self, *, shared: bool) -> None:
        if shared != self._shared:
            self._shared = shared
            logger.warning("the shared books are %s", "back" if shared else "away; this replica keeps its own")
            self._on_change(shared)
