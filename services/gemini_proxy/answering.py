"""From a question to the pieces of its answer: room in the limits, attempts, retries, and what it all cost."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.attempt import Attempt, Result
from services.gemini_proxy.attempting import Attempting, Wish
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.estimating import estimate_of
from services.gemini_proxy.failures import AttemptFailed, Kind, to_error
from services.gemini_proxy.finishing import FinishReason, finish_of, read_form
from services.gemini_proxy.placement import Placer
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.question import Question, Task
from services.gemini_proxy.tasks import Detection, MalformedAnswer, unfenced


@dataclass(frozen=True)
class Piece:
    """The answer goes on."""

    text: str


@dataclass(frozen=True)
class Report:
    """One attempt, as the route tells it. `result` is None where it was given up as too slow: it still runs."""

    model: str
    status: str
    result: Result | None


@dataclass(frozen=True)
class End:
    """The answer is complete."""

    reason: FinishReason
    detail: str
    detections: tuple[Detection, ...]
    attempts: tuple[Report, ...]
    """In their order."""


@dataclass
class _Said:
    """What an attempt has said so far."""

    text: str = ""
    delivered: bool = False
    silent: bool = False
    """Whether it was given up before it said anything."""
    finish: str = ""
    finish_message: str = ""
    detections: tuple[Detection, ...] = ()


class Answerer:
    """Answers questions with the pool."""

    def __init__(self, settings: GeminiSettings, attempting: Attempting, placer: Placer) -> None:
        self._settings = settings
        self._attempting = attempting
        self._placer = placer

    async def answer(self, question: Question, *, timeout_s: float, whole: bool) -> AsyncIterator[Piece | End]:
        """Pieces, then one End. With `whole`, and for an answer to a schema, there is one piece, once it is known to
        be good: until then nothing is delivered, and another attempt can be made.

        Closing the iterator leaves the attempt to run to its end, because it is billed to its end.
        Raises InvalidArgument, FailedPrecondition, QuotaExhausted, Overloaded, DeadlineExceeded, Unavailable, Aborted.
        """
        deadline = time.monotonic() + timeout_s
        estimate = await estimate_of(question, self._attempting.pool)
        wish = Wish(question, estimate, question.settings.max_tokens, question.priority, deadline, self._placer.at)
        call = self._attempting.call(wish)
        reports: list[Report] = []
        while True:
            attempt = await call.attempt()
            said = _Said()
            async with aclosing(self._pieces(attempt, said, hold=whole or _has_form(question))) as pieces:
                async for piece in pieces:
                    yield piece
            failure, result = await self._outcome(attempt, question, said)
            reports.append(_report(question.model, failure, result))
            if failure is None:
                call.succeeded()
                if said.text and not said.delivered:
                    yield Piece(said.text)
                reason, detail = finish_of(said.finish, said.finish_message, said.text, result, question.settings)
                yield End(reason, detail, said.detections, tuple(reports))
                return
            await call.failed(attempt, failure, delivered=said.delivered)

    async def _pieces(self, attempt: Attempt, said: _Said, *, hold: bool) -> AsyncIterator[Piece]:
        """What `attempt` says, noted in `said`; with `hold`, only noted."""
        outcome = Outcome.CANCELLED
        try:
            await attempt.sent()
            async with aclosing(attempt.chunks()) as chunks:
                while (chunk := await self._next(chunks, patient=bool(said.text or said.finish))) is not None:
                    said.text += chunk.text
                    if chunk.finish:
                        said.finish, said.finish_message = chunk.finish, chunk.finish_message
                    if chunk.text and not hold:
                        said.delivered = True
                        yield Piece(chunk.text)
            outcome = None
        except TimeoutError:
            said.silent, outcome = True, Outcome.SUPERSEDED
        finally:
            if outcome is not None:
                attempt.abandon(outcome)

    async def _next(self, chunks: AsyncIterator[Chunk], *, patient: bool) -> Chunk | None:
        """None at the end. Raises TimeoutError where the first one does not come."""
        async with asyncio.timeout(None if patient else self._settings.first_token_timeout_s):
            return await anext(chunks, None)

    async def _outcome(
        self, attempt: Attempt, question: Question, said: _Said
    ) -> tuple[AttemptFailed | None, Result | None]:
        """What the attempt failed with, if it did, and its figures, if they are known."""
        if said.silent:
            return AttemptFailed(Kind.TIMEOUT, "no first piece of an answer in time"), None
        result = await attempt.result()
        if result.failure is None and _has_form(question) and said.finish == "STOP":
            said.text = unfenced(said.text)
            try:
                said.detections = await asyncio.to_thread(read_form, question, said.text)
            except MalformedAnswer as error:
                return AttemptFailed(Kind.UNFIT, str(error)), result
        return result.failure, result


def _has_form(question: Question) -> bool:
    return question.task is Task.DETECT or bool(question.settings.json_schema)


def _report(model: str, failure: AttemptFailed | None, result: Result | None) -> Report:
    status = "OK" if failure is None else to_error(failure, model=model, delivered=False).code.name
    return Report(model, status, result)
