"""Scripted targets and a router of them, before which the real layer stands."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import models_pb2, usage_pb2
from services.gateway.answerer import Answerer, Ask, Weight
from services.gateway.attempts.circuit import Circuit
from services.gateway.attempts.means import Means
from services.gateway.attempts.sequence import Attempts
from services.gateway.clock import Clock
from services.gateway.policy import Policy
from services.gateway.routing.prediction import Outcome
from services.runtime.errors import ChiasmError
from tests.gateway.under_policy import UnderPolicy

Event = generation.StreamGenerateResponse
Script = Callable[[], AsyncIterator[Event | None]]


def started() -> Event:
    return Event(started=generation.Started(model="models/its-own-name", attempt=1, request_id="its-own"))


def delta(text: str) -> Event:
    return Event(delta=generation.Delta(text=text, tokens=[generation.Token(id=1, logprob=-0.5)]))


def finished(
    reason: generation.FinishReason = generation.FINISH_REASON_STOP, *, confidence: float = 0.5, cost: int = 100
) -> Event:
    usage = usage_pb2.Usage(input_tokens=10, output_tokens=2, cost_nanousd=cost)
    return Event(finished=generation.Finished(finish_reason=reason, usage=usage, confidence=confidence))


def saying(*events: Event | ChiasmError | asyncio.Event | None) -> Script:
    """Says events, raises errors, and waits for what is an asyncio.Event."""

    async def script() -> AsyncIterator[Event | None]:
        for event in events:
            if isinstance(event, ChiasmError):
                raise event
            if isinstance(event, asyncio.Event):
                await event.wait()
            else:
                yield event

    return script


def answering(*texts: str, confidence: float = 0.5, cost: int = 100) -> Script:
    return saying(started(), *(delta(text) for text in texts), finished(confidence=confidence, cost=cost))


def never() -> asyncio.Event:
    return asyncio.Event()


class ScriptedTarget:
    """Plays its scripts one after another, the last one for ever."""

    def __init__(self, address: str, policy: Callable[[], Policy], *scripts: Script) -> None:
        self.address = address
        self.scripts = list(scripts)
        self.circuit = Circuit(address, lambda: policy().circuit)
        self.asked: list[SimpleNamespace] = []
        self.at_work = 0
        self.closed = 0

    async def stream(
        self, request: generation.GenerateRequest, timeout_s: float, metadata: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[Event | None]:
        self.asked.append(SimpleNamespace(request=request, timeout_s=timeout_s, metadata=dict(metadata)))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            async with aclosing(script()) as events:
                async for event in events:
                    yield event
        finally:
            self.closed += 1

    @contextmanager
    def working(self, model: str, work_s: float):
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1


@dataclass(eq=False)
class ScriptedCandidate:
    target: ScriptedTarget
    model: models_pb2.Model
    expected_s: float = 0.01
    work_s: float = 0.01
    expected_cost_nanousd: int = 100


@dataclass
class Scene:
    """Candidates in the order in which the router names them, and the layer before them."""

    policy: Policy = field(default_factory=Policy)
    candidates: list[ScriptedCandidate] = field(default_factory=list)
    observed: list[tuple[str, Outcome]] = field(default_factory=list)
    least_confidence: float = 0.0
    may_judge: asyncio.Event | None = None
    """Judging waits for it, where there is one."""
    judging: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while an answer is judged."""

    def candidate(self, model: str, *scripts: Script, address: str = "", cost: int = 100) -> ScriptedTarget:
        target = ScriptedTarget(address or f"{model}:1", lambda: self.policy, *scripts)
        served = models_pb2.Model(name=f"models/{model}", revision=f"{model}-1")
        self.candidates.append(ScriptedCandidate(target, served, expected_cost_nanousd=cost))
        return target

    def plan(self, ask: Ask, policy: Policy) -> SimpleNamespace:
        return SimpleNamespace(candidates=tuple(c for c in self.candidates if ask.account.may_use(c.model.name)))

    def observe(self, candidate: ScriptedCandidate, outcome: Outcome) -> None:
        self.observed.append((candidate.target.address, outcome))

    async def judge(
        self, candidate: ScriptedCandidate, ask: Ask, said: generation.Delta, finished: generation.Finished
    ) -> SimpleNamespace:
        self.judging.set()
        try:
            if self.may_judge is not None:
                await self.may_judge.wait()
        finally:
            self.judging.clear()
        confidence = finished.confidence / 2
        return SimpleNamespace(confidence=confidence, sure=confidence >= self.least_confidence)

    def means(self) -> Means:
        return Means(lambda: self.policy, self, self.judge)

    def layer(self, means: Means | None = None) -> Answerer:
        return UnderPolicy(Attempts(means or self.means()), lambda: self.policy)

    async def told(self, timeout_s: float = 5.0, **routing: object) -> list[Event]:
        """All events of one call."""
        return [event async for event in self.layer().events(question(timeout_s, **routing))]


def question(
    timeout_s: float = 5.0, *, model: str = "", tenant: str = "search", whole: bool = False, **routing: object
) -> Ask:
    part = generation.Part(text="how many?")
    request = generation.GenerateRequest(
        model=model,
        task=generation.TASK_ANSWER,
        messages=[generation.Message(role=generation.ROLE_USER, parts=[part])],
        routing=generation.Routing(**routing),
        request_id="request-1",
    )
    return Ask(request, tenant, asyncio.get_running_loop().time() + timeout_s, Clock(), Weight(0, 0), whole=whole)


def read(events: list[Event]) -> list[str]:
    """Events in short: `started 1 models/a`, `two `, `superseded 1 BROKEN models/b`, `finished STOP`."""
    return [_short(event) for event in events]


def _short(event: Event) -> str:
    match event.WhichOneof("event"):
        case "started":
            return f"started {event.started.attempt} {event.started.model}"
        case "superseded":
            reason = generation.SupersededReason.Name(event.superseded.reason).removeprefix("SUPERSEDED_REASON_")
            return f"superseded {event.superseded.attempt} {reason} {event.superseded.next_model}"
        case "finished":
            reason = generation.FinishReason.Name(event.finished.finish_reason).removeprefix("FINISH_REASON_")
            return f"finished {reason}"
        case _:
            return event.delta.text


def statuses(events: list[Event]) -> list[tuple[str, str]]:
    """The route of a call's last event: model and status of each attempt."""
    return [(attempt.model, attempt.status) for attempt in events[-1].finished.route.attempts]
