"""What of a question is with the provider before the question is asked: uploaded files, and a cached beginning."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from services.gemini_proxy.contents import CachedPrefix
from services.gemini_proxy.context_caches import ContextCaches
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.files import Files
from services.gemini_proxy.provider import Chunk, Provider
from services.gemini_proxy.question import Question


@dataclass(frozen=True)
class Placement:
    """Where the parts of a question lie."""

    uris: Mapping[str, str]
    """Addresses of files by their `at`; the others are sent inline, or `cached`."""
    cached: CachedPrefix | None


class Placer:
    """Places what is large, or comes again, with the provider."""

    def __init__(self, files: Files, caches: ContextCaches) -> None:
        self._files = files
        self._caches = caches

    def at(self, provider: Provider) -> "PlacingProvider":
        """The member, as attempts know it."""
        return PlacingProvider(provider, self)

    async def place(self, question: Question, provider: Provider, *, use_cache: bool) -> Placement:
        """Raises AttemptFailed. A cache that cannot be had is done without."""
        prefix = await self._caches.prefix_of(question, provider) if use_cache else None
        cached = await self._caches.find(prefix) if prefix else None
        kept = {file.at for file in prefix.files} if cached else set()
        uris = await self._files.place(provider, [file for file in question.files if file.at not in kept])
        if prefix and not cached:
            cached = await self._caches.make(prefix, uris)
        return Placement(uris, cached)

    async def forget_vanished(self, placement: Placement, provider: Provider) -> bool:
        """Whether something that was placed is no longer there."""
        cached = placement.cached
        vanished = cached is not None and await self._caches.forget_vanished(provider, cached.name)
        return await self._files.forget_vanished(provider, placement.uris.values()) or vanished


@dataclass(frozen=True)
class PlacingProvider:
    """Places a question before it asks it; and once more, without a cache, where what was placed has vanished."""

    provider: Provider
    placer: Placer

    async def stream(
        self, question: Question, *, attempt_id: str, timeout_s: float, sending: Callable[[], None]
    ) -> AsyncIterator[Chunk]:
        """As `attempt.Sender` has it."""
        deadline = time.monotonic() + timeout_s
        placement = await self._place(question, deadline, use_cache=True)
        sending()
        heard = False
        try:
            async with aclosing(self._ask(question, placement, attempt_id, deadline)) as chunks:
                async for chunk in chunks:
                    heard = True
                    yield chunk
            return
        except AttemptFailed as failure:
            refused = failure.kind in (Kind.DENIED, Kind.REFUSED) and not heard
            if not refused or not await self._has_vanished(placement, deadline):
                raise
        placement = await self._place(question, deadline, use_cache=False)
        sending()
        async with aclosing(self._ask(question, placement, attempt_id, deadline)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _ask(self, question: Question, placement: Placement, attempt_id: str, deadline: float) -> AsyncIterator[Chunk]:
        return self.provider.stream(
            question,
            attempt_id=attempt_id,
            timeout_s=deadline - time.monotonic(),
            uris=placement.uris,
            cached=placement.cached,
        )

    async def _has_vanished(self, placement: Placement, deadline: float) -> bool:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self.placer.forget_vanished(placement, self.provider)
        except TimeoutError:
            return False

    async def _place(self, question: Question, deadline: float, *, use_cache: bool) -> Placement:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self.placer.place(question, self.provider, use_cache=use_cache)
        except TimeoutError:
            # The question was never sent.
            raise AttemptFailed(Kind.UNREACHABLE, "the files could not be uploaded in time") from None
