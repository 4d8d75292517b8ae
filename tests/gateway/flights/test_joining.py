"""Callers that come and go in any order: a model of what each must have been told."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from services.gateway.answerer import Ask, Events
from services.gateway.flights.local import Flights, fly_alone
from services.runtime.errors import Unavailable
from tests.client.scripted import delta, finished, started
from tests.gateway.flights.answering import Event, ask
from tests.gateway.flights.test_local import settled

KEYS = ("a", "b")


class Conducted:
    """A source whose answers say what the machine puts in."""

    def __init__(self) -> None:
        self.live: list[asyncio.Queue[Event | Exception]] = []
        self.asked = 0

    async def stored(self) -> None:
        return None

    async def fresh(self, ask: Ask) -> Events:
        lines: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.live.append(lines)
        self.asked += 1
        try:
            yield started()
            while True:
                line = await lines.get()
                if isinstance(line, Exception):
                    raise line
                yield line
                if line.HasField("finished"):
                    return
        finally:
            self.live.remove(lines)


@dataclass
class Caller:
    told: list[str] = field(default_factory=list)
    whole: bool = False
    failed: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class Expected:
    """A flight."""

    said: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)


class Joining(RuleBasedStateMachine):
    callers = Bundle("callers")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.sources = {key: Conducted() for key in KEYS}
        self.flights = Flights(fly_alone)
        self.expected: dict[str, Expected] = {}
        self.asked = dict.fromkeys(KEYS, 0)
        self.landed: list[tuple[Expected, str]] = []
        self.words = 0

    @rule(target=callers, key=st.sampled_from(KEYS))
    def join(self, key: str) -> tuple[str, Caller]:
        caller = Caller()
        if key not in self.expected:
            self.expected[key] = Expected()
            self.asked[key] += 1
        self.expected[key].callers.append(caller)
        self.runner.run(self._join(key, caller))
        return key, caller

    @rule(which=consumes(callers))
    def leave(self, which: tuple[str, Caller]) -> None:
        key, caller = which
        self.runner.run(self._leave(caller))
        flight = self.expected.get(key)
        if flight and caller in flight.callers:
            flight.callers.remove(caller)
            if not flight.callers:
                del self.expected[key]

    @rule(key=st.sampled_from(KEYS))
    def say(self, key: str) -> None:
        if flight := self.expected.get(key):
            self.words += 1
            flight.said.append(f"word {self.words}")
            self._put(key, delta(flight.said[-1]))

    @rule(key=st.sampled_from(KEYS), well=st.booleans())
    def end(self, key: str, well: bool) -> None:
        if flight := self.expected.pop(key, None):
            self._put(key, finished() if well else Unavailable("gone"))
            self.landed.append((flight, "whole" if well else "failed"))

    @invariant()
    def each_question_is_asked_once_while_somebody_waits(self) -> None:
        assert {key: source.asked for key, source in self.sources.items()} == self.asked
        assert {key for key, source in self.sources.items() if source.live} == set(self.expected)

    @invariant()
    def each_caller_was_told_everything_from_the_start(self) -> None:
        for flight in self.expected.values():
            assert all(caller.told == flight.said and not caller.whole for caller in flight.callers)
        for flight, end in self.landed:
            for caller in flight.callers:
                assert caller.told == flight.said
                assert (caller.whole, caller.failed) == (end == "whole", end == "failed")

    def teardown(self) -> None:
        self.runner.run(self.flights.close())
        self.runner.close()

    def _put(self, key: str, line: Event | Exception) -> None:
        async def put() -> None:
            self.sources[key].live[0].put_nowait(line)
            await settled()

        self.runner.run(put())

    async def _join(self, key: str, caller: Caller) -> None:
        async def listen() -> None:
            try:
                async for event in self.flights.events(key, ask(timeout_s=600), self.sources[key]):
                    if event.HasField("delta"):
                        caller.told.append(event.delta.text)
                    caller.whole |= event.HasField("finished")
            except Unavailable:
                caller.failed = True

        caller.task = asyncio.create_task(listen())
        await settled()

    async def _leave(self, caller: Caller) -> None:
        caller.task.cancel()
        with suppress(asyncio.CancelledError):
            await caller.task
        await settled()


TestJoining = Joining.TestCase
TestJoining.settings = settings(max_examples=60, stateful_step_count=30)
