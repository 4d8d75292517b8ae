"""From something to embed to its vectors: room in the limits, attempts, retries, and what it all cost."""

import asyncio
import math
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from chiasm.v1 import errors_pb2
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.attempt import Attempt, Result
from services.gemini_proxy.attempting import Attempting, Wish
from services.gemini_proxy.catalogue import find_model
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.estimate import Estimate, MediaPart, TextPart, estimate
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.provider import Chunk, Provider
from services.gemini_proxy.question import File, Priority, Text
from services.runtime.errors import InvalidArgument


@dataclass(frozen=True)
class Embedded:
    """What was embedded, and at what cost."""

    vectors: tuple[bytes, ...]
    """One an item: little-endian float32, of length 1 (L2)."""
    results: tuple[Result, ...]
    """Of the attempts whose figures are known; the last one gave the vectors."""


class Embedder:
    """Embeds with the pool."""

    def __init__(self, settings: GeminiSettings, attempting: Attempting) -> None:
        self._settings = settings
        self._attempting = attempting

    async def embed(self, question: EmbeddingQuestion, *, timeout_s: float) -> Embedded:
        """A caller that is cancelled leaves the attempt to run to its end, because it is billed to its end.

        Raises InvalidArgument, FailedPrecondition, QuotaExhausted, Overloaded, DeadlineExceeded, Unavailable, Aborted.
        """
        deadline = time.monotonic() + timeout_s
        call = self._attempting.call(Wish(question, _estimate(question), 0, Priority.NORMAL, deadline, _OnePiece))
        results: list[Result] = []
        while True:
            attempt = await call.attempt()
            try:
                result, vectors = await self._outcome(attempt, question)
                results += [result] if result else []
                if result and result.failure:
                    raise result.failure
                packed = await asyncio.to_thread(_pack, vectors, question)
            except AttemptFailed as error:
                failure = error
            else:
                call.succeeded()
                return Embedded(packed, tuple(results))
            failure.field = "items" if len(question.items) > 1 else "items[0]"
            await call.failed(attempt, failure)

    async def _outcome(
        self, attempt: Attempt, question: EmbeddingQuestion
    ) -> tuple[Result | None, Sequence[Sequence[float]]]:
        """The attempt's figures and vectors. Raises AttemptFailed where it is given up as too slow: it still runs."""
        outcome = Outcome.CANCELLED
        try:
            async with asyncio.timeout(self._settings.first_token_timeout_s):
                result = await attempt.result()
        except TimeoutError:
            outcome = Outcome.SUPERSEDED
            raise AttemptFailed(Kind.TIMEOUT, "no vectors in time") from None
        finally:
            attempt.abandon(outcome)  # one that has ended is left as it is
        return result, [vector async for chunk in attempt.chunks() for vector in chunk.vectors]


@dataclass(frozen=True)
class _OnePiece:
    """A member of the pool as attempts know it: all the vectors are one piece of an answer."""

    provider: Provider

    async def stream(
        self, question: EmbeddingQuestion, *, attempt_id: str, timeout_s: float, sending: Callable[[], None]
    ) -> AsyncIterator[Chunk]:
        sending()
        yield await self.provider.embed(question, timeout_s=timeout_s)


def _estimate(question: EmbeddingQuestion) -> Estimate:
    """What the items read together. Raises InvalidArgument naming the first that is too long for the model."""
    most = find_model(question.model).context_tokens
    expected: Counter = Counter()
    bound: Counter = Counter()
    for index, item in enumerate(question.items):
        estimated = estimate([_part(item)], question.model)
        if (likely := sum(estimated.expected.values())) > most:
            raise InvalidArgument(
                f"about {likely:,} tokens; {question.model} reads {most:,} of an item",
                field=item.at if isinstance(item, File) else f"items[{index}].text",
                reason=errors_pb2.ERROR_REASON_PROMPT_TOO_LONG,
            )
        expected.update(estimated.expected)
        bound.update(estimated.bound)
    return Estimate(expected, bound)


def _part(item: Text | File) -> TextPart | MediaPart:
    return TextPart(item.text) if isinstance(item, Text) else MediaPart(item.facts)


def _pack(vectors: Sequence[Sequence[float]], question: EmbeddingQuestion) -> tuple[bytes, ...]:
    """Each brought to length 1: shortened ones come as they were cut. Raises AttemptFailed for what are no vectors."""
    if [len(vector) for vector in vectors] != [question.dimensions] * len(question.items):
        raise AttemptFailed(Kind.MALFORMED, f"not {question.dimensions} numbers for each item")
    packed = []
    for vector in vectors:
        length = math.hypot(*vector)
        if not 0 < length < math.inf:
            raise AttemptFailed(Kind.MALFORMED, "a vector without a direction")
        packed.append(struct.pack(f"<{len(vector)}f", *(number / length for number in vector)))
    return tuple(packed)
