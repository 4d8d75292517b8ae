"""The gateway's layer of stored and shared answers."""

import random
from collections.abc import Callable, Sequence
from contextlib import aclosing

from chiasm.v1 import generation_pb2
from services.gateway.admission.priority import priority_of
from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.caching.answers import restored, text_of
from services.gateway.caching.key import key_of
from services.gateway.caching.memory import MemoryCache
from services.gateway.caching.near import Look, NearIndex, look_of
from services.gateway.caching.observation import Result, looked, verified
from services.gateway.caching.shared import SharedCache
from services.gateway.caching.source import CachingSource, Stores
from services.gateway.flights.local import Flights, fly_alone
from services.gateway.flights.log import Event
from services.gateway.flights.retelling import Retelling
from services.gateway.flights.shared import SharedPilot
from services.gateway.policy import CachePolicy, NearDuplicatePolicy


class CachedAnswers:
    """Answers from what is stored; else joins the flight of an equal question, or asks `inner` and stores the answer.

    Args:
        inner: the next layer.
        memory: answers of this process.
        shared: answers of all replicas, and the way to their flights; None for a process by itself.
        generation: names the policy and the revisions of the models that may answer a question: answers of other
            ones are not used.
    """

    def __init__(
        self,
        inner: Answerer,
        memory: MemoryCache,
        shared: SharedCache | None,
        generation: Callable[[Ask], str],
    ) -> None:
        self._inner = inner
        self._generation = generation
        self._stores = Stores(memory, shared, NearIndex())
        self._flights = Flights(SharedPilot(shared.link) if shared else fly_alone)

    async def events(self, ask: Ask) -> Events:
        policy = ask.policy.policy.cache
        control = ask.request.routing.cache_control
        if control == generation_pb2.CACHE_CONTROL_NO_STORE or _differs_each_time(ask.request.config, policy):
            looked(Result.BYPASS)
            answer = self._inner.events(ask)
        else:
            refresh = control == generation_pb2.CACHE_CONTROL_REFRESH
            answer = await self._answer(ask, policy, refresh=refresh)
        async with aclosing(answer) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        """Ends the flights that are left: of those, only other processes' calls wait."""
        await self._flights.close()

    async def _answer(self, ask: Ask, policy: CachePolicy, *, refresh: bool) -> Events:
        generation = self._generation(ask)
        key = await key_of(ask, generation)
        if refresh:
            looked(Result.BYPASS)
        elif (data := self._stores.memory.get(key)) is not None:
            looked(Result.MEMORY)
            return _replayed(ask, restored(data))
        look = await look_of(ask, generation) if policy.near_duplicates else None
        source = CachingSource(self._inner, self._stores, policy, key, not _names_media_elsewhere(ask.request), look)
        # Who may wait longer for a turn is not to hold up those of a higher priority.
        fresh = self._flights.events(f"{key}:{priority_of(ask)}", ask, source, join=not refresh)
        if refresh or look is None or (alike := await self._alike(key, look, policy.near_duplicates)) is None:
            return fresh
        if random.random() < policy.near_duplicates.verify_share:
            return _verified(fresh, alike)
        looked(Result.NEAR)
        return _replayed(ask, alike)

    async def _alike(self, key: str, look: Look, policy: NearDuplicatePolicy) -> Sequence[Event] | None:
        """The stored answer about a picture that looks like this one; None where there is one about this very one."""
        nearest = self._stores.near.nearest(look, policy.similarity)
        if nearest is None or await self._stores.get(key) is not None:
            return None
        return await self._stores.get(nearest)


async def _replayed(ask: Ask, stored: Sequence[Event]) -> Events:
    """A stored answer."""
    telling = Retelling(ask)
    for event in stored:
        for told in telling.tell(event, own=False):
            yield told


async def _verified(fresh: Events, alike: Sequence[Event]) -> Events:
    """The fresh answer, compared with the one that would have been told in its place."""
    said = ""
    async with aclosing(fresh) as events:
        async for event in events:
            if event.HasField("superseded"):
                said = ""
            said += event.delta.text
            if event.HasField("finished"):
                verified(agrees=said.split() == text_of(alike).split())
            yield event


def _names_media_elsewhere(request: generation_pb2.GenerateRequest) -> bool:
    """Whether a provider reads some of its media by itself: what is there may be another thing each time."""
    return any(part.media.HasField("uri") for message in request.messages for part in message.parts)


def _differs_each_time(config: generation_pb2.GenerationConfig, policy: CachePolicy) -> bool:
    """Whether it is sampled, and the policy would have each caller get an answer of its own."""
    return config.temperature > 0 and not config.HasField("seed") and not policy.sampled
