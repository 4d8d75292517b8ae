"""One flight for equal questions in all replicas: one of them leads, asks and tells the others through Redis.

A leader that is lost is followed by one of those who waited: it asks again, and what the lost one said is void. Where
Redis is lost every replica goes on alone.
"""

import asyncio
from contextlib import suppress

from chiasm.v1 import generation_pb2
from services.gateway.flights.local import Flight, fly_alone
from services.gateway.flights.log import Break, Reader
from services.gateway.flights.observation import Role, took_part
from services.gateway.flights.store import HEARTBEAT_S, FlightStore, Follow, Lead
from services.gateway.redis_link import RedisLink, StoreGone

MAX_SHARED_BYTES = 2 * 2**20

_BROKEN = Break(generation_pb2.SUPERSEDED_REASON_BROKEN)


class SharedPilot:
    """Flies a process's flights together with those of other processes."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def __call__(self, flight: Flight) -> None:
        """Fills the log of `flight`."""
        if await _tell_stored(flight):
            return
        store = FlightStore(self._link, flight.key)
        try:
            standing = await store.join(_left_s(flight))
            lead = await _follow(flight, store, standing) if isinstance(standing, Follow) else standing
        except StoreGone:
            await flight.log.append(_BROKEN)
            await fly_alone(flight)
            return
        if lead is None:
            return
        if lead is standing:
            took_part(Role.LEADER)
        else:
            took_part(Role.TAKEOVER)
            await flight.log.append(_BROKEN)
        await _lead(flight, store, lead)


async def _tell_stored(flight: Flight) -> bool:
    answer = await flight.source.stored()
    for event in answer or ():
        await flight.log.append(event)
    return answer is not None


async def _follow(flight: Flight, store: FlightStore, follow: Follow) -> Lead | None:
    """Logs what the leader says; the lead, where that comes to fall to this process before the end.

    Raises StoreGone; Relayed when the flight ends with an error.
    """
    took_part(Role.SHARED)
    loop = asyncio.get_running_loop()
    term, count, beat_at = 0, 0, loop.time() + HEARTBEAT_S
    flight.deadline = loop.time() + follow.left_s
    try:
        while True:
            for entry in await store.read(follow.flight, term, count):
                if entry.term > term > 0:
                    await flight.log.append(_BROKEN)
                term, count = entry.term, entry.number + 1
                if entry.event is None:
                    if entry.error is not None:
                        raise entry.error
                    return None
                await flight.log.append(entry.event)
                if flight.log.finished:
                    return None
            if loop.time() < beat_at:
                continue
            beat_at = loop.time() + HEARTBEAT_S
            standing = await store.join(_left_s(flight), following=follow.flight)
            if isinstance(standing, Lead):
                return standing
            if standing.flight != follow.flight:
                await flight.log.append(_BROKEN)
                term, count = 0, 0
            if standing.term:
                flight.deadline = loop.time() + standing.left_s
            follow = standing
    except asyncio.CancelledError:
        with suppress(StoreGone):
            await store.leave()
        raise


async def _lead(flight: Flight, store: FlightStore, lead: Lead) -> None:
    """Asks, and tells the others."""
    reader = flight.log.reader(from_here=True)
    on_desertion, flight.on_desertion = flight.on_desertion, flight.log.nudge
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_ask(flight), name=f"ask {flight.key[:8]}")
        try:
            await _tell(flight, store, lead, reader)
        finally:
            reader.close()
            flight.on_desertion = on_desertion
            if flight.deserted:
                asking.cancel()


async def _ask(flight: Flight) -> None:
    """Ends the log with what it fails with: the others are to be told, and a TaskGroup would wrap it."""
    try:
        # Somebody's answer may have been stored after the first look and before this lead.
        if not await _tell_stored(flight):
            await flight.ask()
    except Exception as error:  # noqa: BLE001 - theirs, who wait
        flight.log.end(error)
    else:
        flight.log.end()


async def _tell(flight: Flight, store: FlightStore, lead: Lead, reader: Reader) -> None:
    """Appends what is asked to the flight in Redis, until its end, or until nobody waits for it or this cannot go on:
    then the others ask for themselves."""
    log, count, size = flight.log, 0, 0
    try:
        while True:
            changed, deserted = log.changed, flight.deserted
            events = reader.take()
            size += sum(event.ByteSize() for event in events)
            if log.ended:
                await store.finish(lead, count, events, log.error)
                return
            if size > MAX_SHARED_BYTES:
                await store.resign(lead, must=True)
                return
            if deserted and await store.resign(lead, must=False):
                return
            if not await store.append(lead, count, events):
                return
            count += len(events)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()
    except StoreGone:
        return
    except asyncio.CancelledError:
        with suppress(StoreGone):
            await store.resign(lead, must=True)
        raise


def _left_s(flight: Flight) -> float:
    return max(0.0, flight.patient.deadline - asyncio.get_running_loop().time())
