"""The layer as several replicas of a gateway have it."""

import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Self

import pytest

from services.gateway import redis_link as links
from services.gateway.caching import shared as answers
from services.gateway.caching.layer import CachedAnswers
from services.gateway.caching.memory import MemoryCache
from services.gateway.caching.shared import SharedCache
from services.gateway.flights import store
from services.gateway.policy import CachePolicy, Policy
from services.gateway.redis_link import RedisLink
from tests.gateway.flights.answering import Answering
from tests.gateway.under_policy import UnderPolicy


class Replicas:
    """They share the Valkey at `port`, and nothing with other sets of replicas but where `generation` is the same."""

    def __init__(self, port: int, generation: str = "") -> None:
        self._url = f"redis://127.0.0.1:{port}"
        self.generation = generation or uuid.uuid4().hex
        self.policy = Policy()
        self._stack = AsyncExitStack()

    def make(self, inner: Answering) -> UnderPolicy:
        """One more, before `inner`."""
        link = RedisLink(self._url)
        self._stack.push_async_callback(link.close)
        memory = MemoryCache(lambda: self.policy.cache.memory_bytes)
        layer = CachedAnswers(inner, memory, SharedCache(link), lambda ask: self.generation)
        self._stack.push_async_callback(layer.close)
        return UnderPolicy(layer, lambda: self.policy)

    def set_cache(self, **settings: object) -> None:
        """Changes the policy of all."""
        self.policy = Policy(cache=CachePolicy(**settings))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()


@contextmanager
def unhurried() -> Iterator[None]:
    """A machine that is busy is neither a lost replica nor a lost Redis."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "LEASE_S", 60.0)
        patch.setattr(store, "WAIT_S", 30.0)
        patch.setattr(answers, "WAIT_S", 30.0)
        patch.setattr(links, "MAX_WAIT_S", 30.0)
        yield
