"""One flight for equal questions in this process."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import grpc

from chiasm.v1 import errors_pb2, generation_pb2
from services.gateway.answerer import Ask, Events
from services.gateway.flights.log import Break, Event, Item, Log, Reader
from services.gateway.flights.observation import Role, took_part
from services.gateway.flights.retelling import Retelling
from services.runtime.errors import Aborted, ChiasmError, Unavailable
from services.runtime.streams import each_within

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 2 * 2**20
# A call that has no more than this left has no use for a second flight.
LEAST_LEFT_S = 0.5
# What a question may fail with because little time was left for it: there or here, before or after it was begun.
_OF_TIME = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


class Source(Protocol):
    """Where a flight's answer comes from."""

    async def stored(self) -> Sequence[Event] | None:
        """The answer, when somebody has it already. Raises the ChiasmError that is known to be the answer."""

    def fresh(self, ask: Ask) -> Events:
        """The answer as it comes. It may go on after `finished`, to see to the answer's keeping."""


class Flight:
    """One answer on its way to all who wait for it. It ends with its answer, or when the last of them leaves."""

    def __init__(self, key: str, source: Source) -> None:
        self.key = key
        self.source = source
        self.log = Log(MAX_LOG_BYTES)
        self.asked: Ask | None = None
        """The question that this process asks, of all those equal ones; None while it asks none."""
        self.deadline = float("inf")
        """Of the question that is asked, here or elsewhere, by this event loop's clock."""
        self.deserted = False
        self.on_desertion: Callable[[], object] = lambda: None
        self._asks: dict[Reader, Ask] = {}
        self._last: Ask | None = None

    @property
    def open(self) -> bool:
        """Whether a caller may still join it and get everything."""
        return not self.deserted and not self.log.ended and self.log.whole

    @property
    def patient(self) -> Ask | None:
        """Of those who wait, the one who can wait longest; the last who did where nobody does."""
        return max(self._asks.values(), key=lambda ask: ask.deadline, default=self._last)

    async def items(self, ask: Ask) -> AsyncGenerator[Item, None]:
        """All items from the start, for `ask`."""
        reader = self.log.reader()
        self._asks[reader] = ask
        try:
            async with aclosing(reader.items()) as items:
                async for item in items:
                    yield item
        finally:
            reader.close()
            self._last = self._asks.pop(reader)
            if not self._asks and not (self.log.finished or self.log.ended):
                self.deserted = True
                self.on_desertion()

    async def ask(self) -> None:
        """Asks, and logs the answer to its end. Raises what it fails with."""
        self.asked = self.patient
        self.deadline = self.asked.deadline
        left_s = self.deadline - asyncio.get_running_loop().time()
        async with aclosing(each_within(left_s, self.source.fresh(self.asked))) as events:
            async for event in events:
                await self.log.append(event)


Pilot = Callable[[Flight], Awaitable[None]]
"""Fills a flight's log. Cancelled when the flight is deserted, unless it sees to that itself by `on_desertion`."""


async def fly_alone(flight: Flight) -> None:
    """For this process only."""
    took_part(Role.LEADER)
    await flight.ask()


class Flights:
    """Those of this process."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._open: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def events(self, key: str, ask: Ask, source: Source, *, join: bool = True) -> Events:
        """The answer to `ask`, for this process asked once for all that have the same key.

        Args:
            join: whether an answer that is on its way already will do.
        """
        telling = Retelling(ask)
        while True:
            flight = self._flight(key, source, join)
            try:
                async with aclosing(flight.items(ask)) as items:
                    async for item in items:
                        for event in telling.tell(item, own=flight.asked is ask):
                            yield event
                        if not isinstance(item, Break) and item.HasField("finished"):
                            return
                raise Aborted("the answer broke off")
            except ChiasmError as error:
                if self._closed or not _only_too_late_for_others(error, flight, ask):
                    raise
            telling.tell(Break(generation_pb2.SUPERSEDED_REASON_SLOW), own=False)

    async def close(self) -> None:
        """Ends every flight; those who wait elsewhere go on without this process."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flight(self, key: str, source: Source, join: bool) -> Flight:
        flight = self._open.get(key)
        if flight is None or not flight.open:
            flight = Flight(key, source)
            self._open[key] = flight
            self._start(flight, self._pilot if join else fly_alone)
        elif join:
            took_part(Role.LOCAL)
        else:
            flight = Flight(key, source)
            self._start(flight, fly_alone)
        return flight

    def _start(self, flight: Flight, pilot: Pilot) -> None:
        task = asyncio.create_task(_fly(flight, pilot), name=f"flight {flight.key[:8]}")
        flight.on_desertion = task.cancel
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._landed(flight, task))

    def _landed(self, flight: Flight, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._open.get(flight.key) is flight:
            del self._open[flight.key]


async def _fly(flight: Flight, pilot: Pilot) -> None:
    """Ends the flight's log, whatever happens: an error reaches those who wait, and raises nothing here."""
    try:
        await pilot(flight)
    except asyncio.CancelledError:
        flight.log.end(Unavailable("the server is shutting down", reason=errors_pb2.ERROR_REASON_SHUTTING_DOWN))
        raise
    except Exception as error:
        if flight.deserted and not isinstance(error, ChiasmError):
            logger.error("a flight that nobody waits for failed", exc_info=error)
        flight.log.end(error)
    else:
        flight.log.end()


def _only_too_late_for_others(error: ChiasmError, flight: Flight, ask: Ask) -> bool:
    """Whether the question may have failed for want of a time that was another's, and shorter than what `ask` has."""
    if error.code not in _OF_TIME or flight.asked is ask:
        return False
    now = asyncio.get_running_loop().time()
    return ask.deadline > max(now, flight.deadline) + LEAST_LEFT_S
