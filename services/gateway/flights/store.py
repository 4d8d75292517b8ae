"""Flights in Redis: who leads, who waits, and what has been said.

    chiasm:gateway:flight:{KEY}             hash: flight, term, until (end of the leader's lease), deadline; in ms
    chiasm:gateway:flight:{KEY}:waiters     sorted set: who follows, until when
    chiasm:gateway:flight:{KEY}:events:ID   stream: event, under the id TERM-NUMBER

An event is a letter and what it stands for: E an event of the answer, F the status it failed with, Z its end.
A leader that has lost its lease cannot append: the term is its fencing token. Each call raises StoreGone.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from redis.asyncio import Redis

from services.gateway.flights.failures import Relayed, status_of
from services.gateway.flights.log import Event
from services.gateway.redis_link import RedisLink, StoreGone

PREFIX = "chiasm:gateway:flight:"
LEASE_S = 2.0
HEARTBEAT_S = 0.5
KEEP_S = 30.0
LINGER_S = 10.0
WAIT_S = 1.0
BLOCK_S = 0.25


@dataclass(frozen=True)
class Lead:
    """To be in front: ask, append, renew."""

    flight: str
    term: int


@dataclass(frozen=True)
class Follow:
    """To read what the leader appends."""

    flight: str
    term: int
    left_s: float
    """Of the deadline of the question that the leader asks."""


@dataclass(frozen=True)
class Entry:
    """A piece of what was said."""

    term: int
    number: int
    """0 for the first of its term."""
    event: Event | None
    """None for the end."""
    error: Relayed | None
    """What it ended with, if with an error."""


class FlightStore:
    """The flight of one key, as one waiter sees it."""

    def __init__(self, link: RedisLink, key: str) -> None:
        self._link = link
        self._prefix = f"{PREFIX}{{{key}}}"
        self._waiter = uuid.uuid4().hex

    async def join(self, left_s: float, *, following: str = "") -> Lead | Follow:
        """Lead where nobody does, or else wait, for `LEASE_S`.

        Args:
            left_s: how long the question may take, if it is asked.
            following: the flight that it waits for already.
        """
        args = (uuid.uuid4().hex, self._waiter, following, _ms(LEASE_S), _ms(KEEP_S), _ms(left_s))
        role, flight, term, left_ms = await self._run("join", args)
        if role == b"lead":
            return Lead(flight.decode(), term)
        return Follow(flight.decode(), term, left_ms / 1000)

    async def append(self, lead: Lead, count: int, events: Sequence[Event]) -> bool:
        """Whether it still leads; `count` were appended before. Also renews the lease."""
        return await self._append(lead, count, [b"E" + event.SerializeToString() for event in events], last=False)

    async def finish(self, lead: Lead, count: int, events: Sequence[Event], error: Exception | None) -> None:
        """Appends the last `events` and the end."""
        end = b"F" + status_of(error).SerializeToString() if error else b"Z"
        await self._append(lead, count, [*(b"E" + event.SerializeToString() for event in events), end], last=True)

    async def resign(self, lead: Lead, *, must: bool) -> bool:
        """Whether it leads no more; without `must` it goes on leading where others wait."""
        return bool(await self._run("resign", (lead.flight, lead.term, int(must))))

    async def read(self, flight: str, term: int = 0, count: int = 0) -> list[Entry]:
        """What was said since the first `count` entries of `term`; waits for it for `BLOCK_S`.

        What a lost leader said is left out where another speaks already. Raises StoreGone where Redis has dropped
        something in between.
        """
        name, after = f"{self._prefix}:events:{flight}", f"{term}-{max(0, count - 1)}"
        streams = await self._link.block(lambda client: client.xread({name: after}, block=_ms(BLOCK_S)))
        entries = [_entry(position, fields) for _, stream in streams for position, fields in stream]
        newest = [entry for entry in entries if entry.term == entries[-1].term]
        if newest and newest[0].number != (count if newest[0].term == term else 0):
            raise StoreGone("events are missing")
        return newest

    async def leave(self) -> None:
        """Waits no more."""
        await self._link.call(lambda client: client.zrem(f"{self._prefix}:waiters", self._waiter), wait_s=WAIT_S)

    async def _append(self, lead: Lead, count: int, payloads: Sequence[bytes], *, last: bool) -> bool:
        times = (_ms(LEASE_S), _ms(KEEP_S), _ms(LINGER_S))
        return bool(await self._run("append", (lead.flight, lead.term, *times, int(last), count, *payloads)))

    async def _run(self, name: str, args: Sequence[str | int | bytes]) -> object:
        async def send(client: Redis) -> object:
            return await client.register_script(_SCRIPTS[name])(keys=[self._prefix], args=args)

        return await self._link.call(send, wait_s=WAIT_S)


def _entry(position: bytes, fields: dict[bytes, bytes]) -> Entry:
    term, number = position.split(b"-")
    try:
        event, error = _said(fields.get(b"event", b""))
    except (DecodeError, ValueError):
        raise StoreGone("what is stored is no event") from None
    return Entry(int(term), int(number), event, error)


def _said(line: bytes) -> tuple[Event | None, Relayed | None]:
    """An event, or an error, or neither at the end. Raises DecodeError or ValueError for what is none of them."""
    kind, payload = line[:1], line[1:]
    if line == b"Z":
        return None, None
    if kind == b"F":
        return None, Relayed(status_pb2.Status.FromString(payload))
    event = Event.FromString(payload)
    if kind != b"E" or event.WhichOneof("event") is None:
        raise ValueError("no event")
    return event, None


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


_SCRIPTS = {
    name: (resources.files(__package__) / "scripts" / f"{name}.lua").read_text()
    for name in ("join", "append", "resign")
}
