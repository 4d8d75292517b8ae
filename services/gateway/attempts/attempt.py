"""One attempt at an answer: a target's stream, checked and timed, and what came of it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from chiasm.v1 import generation_pb2, usage_pb2
from services.gateway.answerer import Ask, Events
from services.gateway.attempts import observation
from services.gateway.attempts.circuit import Trial
from services.gateway.attempts.failure import Failure, TooSlow
from services.gateway.attempts.grammar import checked
from services.gateway.attempts.means import Means
from services.gateway.attempts.parts import Candidate
from services.gateway.clock import Clock
from services.gateway.routing.prediction import Outcome
from services.runtime.errors import ChiasmError, DeadlineExceeded, Unavailable
from services.runtime.tenant import METADATA_KEY


class Attempt:
    """One question to one target. It ends `finished`, or with a `failure`, or, where it was cancelled, with neither."""

    def __init__(
        self,
        means: Means,
        candidate: Candidate,
        ask: Ask,
        *,
        deadline: float,
        slow_share: float,
        another: Callable[[], bool],
    ) -> None:
        """Nothing is sent yet. `deadline` is by the event loop's clock, in seconds, and not after the call's own.

        Where `slow_share` of the time left, above 0 to 1, brings no first delta, or then no further event, it is given
        up if `another` says that another candidate could make the deadline.
        """
        self.candidate = candidate
        self.finished: generation_pb2.Finished | None = None
        """As the target sent it."""
        self.failure: Failure | None = None
        self.given_up = generation_pb2.SUPERSEDED_REASON_UNSPECIFIED
        """Why another attempt was preferred."""
        self.confidence: float | None = None
        """How likely the answer is right, once it was judged; 0 to 1."""
        self.unsure = False
        """Whether it was judged not to be good enough."""
        self.spoke = False
        """Whether it said more than white space."""
        self.clock = Clock()
        self.took_s: float | None = None
        """Seconds to its end; None while it runs."""
        self._means = means
        self._ask = ask
        self._deadline = deadline
        self._slow_share = slow_share
        self._another = another
        self._texts: list[str] = []
        self._tokens: list[generation_pb2.Token] = []

    async def deltas(self) -> AsyncGenerator[generation_pb2.Delta, None]:
        """What it says, as it comes. Closing it cancels the attempt. Raises nothing: see `failure`."""
        circuit = self.candidate.target.circuit
        if (trial := circuit.begin()) is None:
            self.failure = Failure(Unavailable("the model server is unavailable", retry_after_s=circuit.opens_for_s))
            self.took_s = self.clock.elapsed_s
            return
        try:
            with self.candidate.target.working(self.candidate.model.name, self.candidate.work_s):
                async with aclosing(checked(self._in_time())) as parts:
                    async for part in parts:
                        if isinstance(part, generation_pb2.Finished):
                            self.finished = part
                        else:
                            self._hear(part)
                            yield part
        except ChiasmError as error:
            self.failure = Failure(error)
        finally:
            self._end(trial)

    async def drain(self) -> None:
        """Hears it to its end."""
        async with aclosing(self.deltas()) as deltas:
            async for _ in deltas:
                pass

    @property
    def said(self) -> generation_pb2.Delta:
        """All that it said so far."""
        return generation_pb2.Delta(text="".join(self._texts), tokens=self._tokens)

    @property
    def answered(self) -> bool:
        """Whether it gave a whole answer that says something."""
        if self.finished is None or self.finished.finish_reason == generation_pb2.FINISH_REASON_BLOCKED:
            return False
        return self.spoke

    @property
    def status(self) -> str:
        """The name of its final status."""
        if self.failure is not None:
            return self.failure.error.code.name
        return "OK" if self.finished is not None else "CANCELLED"

    @property
    def cost_nanousd(self) -> int:
        """What it cost; what it was expected to cost where that is not known."""
        if self.finished is not None:
            return self.finished.usage.cost_nanousd
        return 0 if self.failure is not None and not self.spoke else self.candidate.expected_cost_nanousd

    async def _in_time(self) -> Events:
        """The target's events, each in time. A consumer's pauses between them do not count."""
        loop = asyncio.get_running_loop()
        stream = self.candidate.target.stream(
            self._request(), self._ask.deadline - loop.time(), ((METADATA_KEY, self._ask.tenant),)
        )
        async with aclosing(stream):
            slow_at = self._slow_at(loop.time())
            while True:
                try:
                    async with asyncio.timeout_at(self._deadline) as scope:
                        with self._hurried(scope, slow_at):
                            event = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if scope.expired():
                        raise self._out_of_time(scope.when()) from None
                    raise
                yield event
                if event is not None and event.HasField("delta"):
                    slow_at = self._slow_at(loop.time())

    def _request(self) -> generation_pb2.GenerateRequest:
        asked, model = self._ask.request, self.candidate.model.name
        if asked.model == model:
            return asked
        request = generation_pb2.GenerateRequest()
        request.CopyFrom(asked)
        request.model = model
        return request

    def _slow_at(self, now: float) -> float:
        return now + self._slow_share * (self._deadline - now)

    @contextmanager
    def _hurried(self, scope: asyncio.Timeout, slow_at: float) -> Iterator[None]:
        """Ends `scope` at `slow_at` if there is another one then."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if not scope.expired() and self._another():
                scope.reschedule(loop.time())

        look_at = loop.call_at(slow_at, look)
        try:
            yield
        finally:
            look_at.cancel()

    def _out_of_time(self, limit: float) -> DeadlineExceeded:
        if limit >= self._ask.deadline:
            return DeadlineExceeded("the answer was not complete in the time given")
        kind = TooSlow if self.clock.elapsed_s > self.candidate.expected_s else DeadlineExceeded
        return kind("the model server was too slow")

    def _hear(self, delta: generation_pb2.Delta) -> None:
        self.clock.saw_token()
        self.spoke = self.spoke or bool(delta.text.strip())
        self._texts.append(delta.text)
        self._tokens.extend(delta.tokens)

    def _end(self, trial: Trial) -> None:
        self.took_s = self.clock.elapsed_s
        retries = self._means.retries(self.candidate)
        if self.finished is not None:
            trial.succeeded()
            retries.succeeded()
            self._means.times(self.candidate).add(self.took_s)
        elif self.failure is not None and self.failure.of_target:
            trial.failed()
            retries.failed()
        else:
            trial.released()
        if self.finished is not None or self.failure is not None:
            usage = self.finished.usage if self.finished is not None else usage_pb2.Usage()
            ok = self.finished is not None
            self._means.router.observe(self.candidate, Outcome(self.clock.first_token_s, self.took_s, usage, ok))
        observation.attempt_ended(self.candidate.model, self.status, self.took_s)
