"""One metered attempt. It lives on when its caller leaves, because the provider bills it to the end all the same."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from services.gemini_proxy.accounts.books import Books, Claim, Lease, Outcome, Settlement
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.estimate import Estimate
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.prices import Prices, PriceUnknown
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.question import Question
from services.gemini_proxy.usage import TokenUsage
from services.runtime.errors import ChiasmError, DeadlineExceeded

logger = logging.getLogger(__name__)

# Pieces that wait for a slow caller; beyond them the provider waits too.
_MAX_UNREAD = 64
# A caller that takes none of them for so long is gone, whatever its connection says: the lease does not wait for it.
_UNREAD_S = 30.0


@dataclass(frozen=True)
class Plan:
    """What an attempt is made of: the question, what was thought and held for it, and how long it may take."""

    question: Question | EmbeddingQuestion
    estimate: Estimate
    claim: Claim
    lease: Lease
    timeout_s: float


class Sender(Protocol):
    """Sends a question through a member of the pool."""

    def stream(
        self,
        question: Question | EmbeddingQuestion,
        *,
        attempt_id: str,
        timeout_s: float,
        sending: Callable[[], None],
    ) -> AsyncIterator[Chunk]:
        """The answer as it comes, an async generator. Raises AttemptFailed.

        `sending` is called when all is ready for the question to be sent; it is not to be where that raises.
        """


@dataclass(frozen=True)
class Result:
    """What an attempt came to, whether or not it gave an answer."""

    model: str
    """The model that really answered; empty when none did."""
    usage: TokenUsage
    cost_nanousd: int
    failure: AttemptFailed | None
    first_token_s: float | None
    seconds: float


class Attempt:
    """Begins when it is made. `chunks` are its answer; `result` says how it ended, once the books are settled."""

    def __init__(self, plan: Plan, sender: Sender, books: Books, prices: Prices) -> None:
        self._plan = plan
        self._sender = sender
        self._books = books
        self._prices = prices
        self._began, self._at = time.monotonic(), datetime.now(UTC)
        self._first_token_s: float | None = None
        self._usage: TokenUsage | None = None
        self._model = ""
        self._outcome = Outcome.OK
        self._abandoned = False
        self._sent = asyncio.Event()
        self._room = asyncio.Semaphore(_MAX_UNREAD)
        self._unread: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._run(), name=f"attempt {plan.claim.attempt_id}")

    @property
    def attempt_id(self) -> str:
        return self._plan.claim.attempt_id

    @property
    def member(self) -> str:
        """Whose key it uses."""
        return self._plan.lease.member

    async def sent(self) -> None:
        """Waits until the question is on its way, or never will be: its files may have to be uploaded first."""
        await self._sent.wait()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The pieces of the answer as they come. After the last, `result` says whether they are the whole.

        Raises DeadlineExceeded where they were read too slowly to be kept.
        """
        while (chunk := await self._unread.get()) is not None:
            self._room.release()
            yield chunk
        if self._abandoned:
            raise DeadlineExceeded(f"nothing of the answer was read for {_UNREAD_S:.3g} s")

    async def result(self) -> Result:
        """Waits for the end and the settlement."""
        return await asyncio.shield(self.task)

    def abandon(self, outcome: Outcome) -> None:
        """Nobody reads on. The attempt does, so that what it costs is known; it is booked as `outcome`."""
        if not self._abandoned and not self.task.done():
            self._abandoned, self._outcome = True, outcome
            self._room.release()

    async def _run(self) -> Result:
        failure: AttemptFailed | None = None
        try:
            await self._read()
        except AttemptFailed as error:
            failure = error
        except BaseException:
            failure = AttemptFailed(Kind.STOPPED, "this server stopped amid the answer")
            raise
        finally:
            self._sent.set()
            # The caller learns of the end before the books do: its last piece is worth more to it.
            self._unread.put_nowait(None)
            cost = await self._settle(failure)
        seconds = time.monotonic() - self._began
        return Result(self._model, self._usage or TokenUsage(), cost, failure, self._first_token_s, seconds)

    async def _read(self) -> None:
        plan = self._plan
        stream = self._sender.stream(
            plan.question, attempt_id=plan.claim.attempt_id, timeout_s=plan.timeout_s, sending=self._sending
        )
        async with aclosing(stream):
            async for chunk in stream:
                if self._first_token_s is None:
                    self._first_token_s = time.monotonic() - self._began
                    await self._books.counted(plan.claim.attempt_id)
                self._usage = chunk.usage or self._usage
                self._model = chunk.model or self._model
                await self._hand_over(chunk)

    def _sending(self) -> None:
        """Raises AttemptFailed where nobody waits for the answer any more."""
        if self._abandoned:
            raise AttemptFailed(Kind.UNREACHABLE, "nobody waited any more, and the question was not sent")
        self._sent.set()

    async def _hand_over(self, chunk: Chunk) -> None:
        if self._abandoned:
            return
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self._room.acquire()
        except TimeoutError:
            self.abandon(Outcome.CANCELLED)
        else:
            self._unread.put_nowait(chunk)

    async def _settle(self, failure: AttemptFailed | None) -> int:
        """Puts the real figures, as far as they are known, in the books; the cost."""
        plan, heard = self._plan, self._usage
        # An error that comes amid an answer undoes nothing of what was written before.
        free = failure is not None and failure.bill_is_known and self._first_token_s is None
        final = failure is None or free
        if free:
            cost = 0
        elif heard is None or (failure is not None and failure.goes_on_unheard):
            cost, final = plan.claim.cost_nanousd, False
        else:
            try:
                cost = self._prices.cost_nanousd(heard, self._model or plan.question.model, self._at)
            except PriceUnknown as error:
                logger.error("attempt %s is booked at its worst case: %s", self.attempt_id, error.message)
                cost, final = plan.claim.cost_nanousd, False
        if failure is not None and self._outcome is Outcome.OK:
            self._outcome = Outcome.FAILED
        self._usage = heard
        settlement = Settlement(
            self.attempt_id,
            self._outcome,
            heard or TokenUsage(),
            cost,
            answered_by=self._model,
            sent=failure is None or failure.reached_provider,
            final=final,
        )
        try:
            await self._books.settle(settlement)
        except ChiasmError as error:
            # Its lease ends, and the books take it for lost: its worst case, to be corrected.
            logger.error("attempt %s could not be settled: %s", self.attempt_id, error.message)
        return cost
