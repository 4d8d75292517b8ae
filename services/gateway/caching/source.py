"""Where the answer to a flight comes from, and where it goes."""

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from chiasm.v1 import errors_pb2
from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.caching.answers import Recording, restored, stored_refusal
from services.gateway.caching.memory import MemoryCache
from services.gateway.caching.near import Look, NearIndex
from services.gateway.caching.observation import Result, looked
from services.gateway.caching.shared import SharedCache
from services.gateway.flights.log import Event
from services.gateway.policy import CachePolicy
from services.runtime.errors import ChiasmError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stores:
    """Where answers are kept."""

    memory: MemoryCache
    shared: SharedCache | None
    near: NearIndex

    async def get(self, key: str) -> Sequence[Event] | None:
        """From this process, or else from all replicas, and then this process has it too.

        Raises Relayed where a refusal is stored.
        """
        if (data := self.memory.get(key)) is not None:
            return restored(data)
        if self.shared is None or (found := await self.shared.get(key)) is None:
            return None
        try:
            events = restored(found.data)
        except ValueError:
            logger.warning("a stored answer cannot be read", extra={"key": key})
            return None
        self.memory.put(key, found.data, found.ttl_s)
        return events

    async def put(self, key: str, data: bytes, ttl_s: float) -> None:
        if ttl_s > 0:
            self.memory.put(key, data, ttl_s)
            if self.shared is not None:
                await self.shared.put(key, data, ttl_s)


@dataclass(frozen=True)
class CachingSource:
    """Of one question."""

    inner: Answerer
    stores: Stores
    policy: CachePolicy
    key: str
    keep: bool
    """Whether what is asked is stored."""
    look: Look | None
    """What its only picture looks like, where the policy wants to know."""

    async def stored(self) -> Sequence[Event] | None:
        """What is stored. Raises Relayed where that is a refusal."""
        events = await self.stores.get(self.key)
        if events is not None:
            looked(Result.SHARED)
        return events

    async def fresh(self, ask: Ask) -> Events:
        """Asks, and stores the answer or refusal after its last event, where it is one to keep."""
        looked(Result.MISS)
        recording = Recording(self.policy.max_answer_bytes)
        try:
            async with aclosing(self.inner.events(ask)) as events:
                async for event in events:
                    recording.take(event)
                    yield event
        except ChiasmError as error:
            if self.keep and _is_of_the_question(error):
                await self.stores.put(self.key, stored_refusal(error), self.policy.negative_ttl_s)
            raise
        if self.keep and not ask.standing.unsure and recording.data is not None:
            await self.stores.put(self.key, recording.data, self.policy.ttl_s)
            if self.look is not None:
                self.stores.near.add(self.look, self.key)


def _is_of_the_question(error: ChiasmError) -> bool:
    """Whether each model would refuse it: how large a message may be is up to the server."""
    return error.code is grpc.StatusCode.INVALID_ARGUMENT and error.reason != errors_pb2.ERROR_REASON_MESSAGE_SIZE
