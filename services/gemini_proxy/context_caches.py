"""Beginnings of questions that come again and again, kept by the provider in explicit caches where that costs less.

A cache and its storage cost money (https://ai.google.dev/gemini-api/docs/caching): each is a claim of its own in the
books, of the tenant whose question it was made for, reserved before it is made and settled to what is billed.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import takewhile

from google.genai import types

from services.gemini_proxy.accounts.books import Books, Claim
from services.gemini_proxy.cache_payments import CALL_S, CachePayments, is_not_done
from services.gemini_proxy.caching import caching_pays
from services.gemini_proxy.catalogue import MediaResolution, find_model
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.contents import CachedPrefix, instructions_of, prefix_contents_of, spoken
from services.gemini_proxy.estimate import Estimate, MediaPart, TextPart, estimate
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.notes import Note, Notes
from services.gemini_proxy.observation import CREATE_CACHE, PROLONG_CACHE
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.provider import Provider, failing_as_attempts, is_absent
from services.gemini_proxy.question import File, Question, Task
from services.gemini_proxy.usage import Modality, TokenUsage

_HOUR_S = 3600
_FAILURE_KNOWN_S = 60.0
# An attempt that names a cache must reach the provider before it ends.
_MARGIN_S = 5.0


@dataclass(frozen=True)
class Prefix:
    """The beginning of one question at one member of the pool."""

    question: Question
    provider: Provider
    digest: str
    """The same for the same content and model."""
    files: tuple[File, ...]
    """The first pieces of the first turn."""
    tokens: Estimate
    uses_per_hour: float
    """In the last hour, this one included."""

    @property
    def shelf(self) -> str:
        return f"caches:{self.provider.name}"


class ContextCaches:
    """Makes caches, prolongs them, and knows their names."""

    def __init__(self, settings: GeminiSettings, books: Books, prices: Prices, notes: Notes) -> None:
        self._settings = settings
        self._prices = prices
        self._notes = notes
        self._payments = CachePayments(books)

    async def prefix_of(self, question: Question, provider: Provider) -> Prefix | None:
        """What a cache could hold of `question`, which counts as a use of it; None where nothing is to be cached."""
        files = _first_files(question)
        tokens = _tokens(question, files)
        least = find_model(question.model).cache_min_tokens
        if not self._settings.caching or least is None or sum(tokens.expected.values()) < least:
            return None
        digest = await asyncio.to_thread(_digest, question, files)
        uses = await self._notes.count(f"{provider.name}:{digest}", within_s=_HOUR_S)
        return Prefix(question, provider, digest, files, tokens, uses)

    async def find(self, prefix: Prefix) -> CachedPrefix | None:
        """The cache that there is of it, prolonged where its uses pay for that."""
        note = await self._notes.get(prefix.shelf, prefix.digest)
        if note is None or "name" not in note:
            return None
        if self._ends_soon(note) and self._keeping_pays(prefix):
            await self._prolong(prefix)
        return _cached(note, prefix)

    async def make(self, prefix: Prefix, uris: Mapping[str, str]) -> CachedPrefix | None:
        """A new cache where it pays; None where it does not or cannot be had. `uris`: files' addresses by `at`."""
        if not self._making_pays(prefix):
            return None
        async with self._alone(prefix):
            note = await self._notes.get(prefix.shelf, prefix.digest)
            if note is None:
                note = await self._create(prefix, uris)
        return _cached(note, prefix) if "name" in note else None

    async def forget_vanished(self, provider: Provider, name: str) -> bool:
        """Whether the cache `name` is no longer there."""
        shelf = f"caches:{provider.name}"
        digests = [digest for digest, note in (await self._notes.all(shelf)).items() if note.get("name") == name]
        if digests and not await _is_gone(provider, name):
            return False
        for digest in digests:  # none where another attempt has found it out
            await self._notes.remove(shelf, digest)
        return True

    async def _create(self, prefix: Prefix, uris: Mapping[str, str]) -> Note:
        """Its note. One without a name says that it could not be made: it is not tried again at every use."""
        model, ttl_s = prefix.question.model, self._settings.cache_ttl_s
        bound, now = prefix.tokens.bound, datetime.now(UTC)
        ends_at = self._notes.clock() + ttl_s
        config = types.CreateCachedContentConfig(
            contents=prefix_contents_of(prefix.files, uris) or None,
            system_instruction=instructions_of(prefix.question),
            ttl=f"{ttl_s}s",
        )

        def bill(made: types.CachedContent) -> tuple[TokenUsage, int]:
            _until(made)
            usage = TokenUsage(_written(prefix.tokens.expected, _size(made)))
            storage = self._prices.storage_nanousd(usage.input_tokens, ttl_s, model, now)
            return usage, self._prices.cost_nanousd(usage, model, now) + storage

        most = self._prices.worst_cost_nanousd(bound, 0, model, now)
        most += self._prices.storage_nanousd(sum(bound.values()), ttl_s, model, now)
        claim = _claim(prefix, input_tokens=sum(bound.values()), cost_nanousd=most)
        create = prefix.provider.client.caches.create
        made = None
        with suppress(AttemptFailed):
            made = await self._payments.pay(CREATE_CACHE, claim, lambda: create(model=model, config=config), bill)
        if made is None:
            await self._notes.put(prefix.shelf, prefix.digest, {}, lasts_s=_FAILURE_KNOWN_S)
            return {}
        note = {"name": made.name, "tokens": _size(made), "until": _until(made).isoformat(), "ends_at": ends_at}
        await self._keep(prefix, note)
        return note

    async def _prolong(self, prefix: Prefix) -> None:
        """By another term."""
        ttl_s, model, now = self._settings.cache_ttl_s, prefix.question.model, datetime.now(UTC)
        async with self._alone(prefix):
            note = await self._notes.get(prefix.shelf, prefix.digest)
            if note is None or "name" not in note or not self._ends_soon(note):
                return
            until = datetime.fromisoformat(note["until"])
            hoped = until + timedelta(seconds=ttl_s)

            def bill(made: types.CachedContent) -> tuple[TokenUsage, int]:
                granted_s = Fraction(max(_until(made) - until, timedelta()) // timedelta(microseconds=1), 10**6)
                return TokenUsage(), self._prices.storage_nanousd(note["tokens"], granted_s, model, now)

            most = self._prices.storage_nanousd(note["tokens"], ttl_s, model, now)
            claim = _claim(prefix, input_tokens=0, cost_nanousd=most)
            try:
                made = await self._payments.pay(
                    PROLONG_CACHE, claim, lambda: _prolonged(prefix.provider, note["name"], hoped), bill
                )
            except AttemptFailed:
                end = hoped  # it is booked as if it lasted till then, and is not to be booked again
            else:
                if made is None:
                    return
                end = _until(made)
            later = {"until": end.isoformat(), "ends_at": note["ends_at"] + (end - until).total_seconds()}
            await self._keep(prefix, {**note, **later})

    async def _keep(self, prefix: Prefix, note: Note) -> None:
        lasts_s = note["ends_at"] - _MARGIN_S - self._notes.clock()
        await self._notes.put(prefix.shelf, prefix.digest, note, lasts_s=lasts_s)

    def _alone(self, prefix: Prefix) -> AbstractAsyncContextManager[None]:
        return self._notes.alone(f"{prefix.shelf}:{prefix.digest}", at_most_s=CALL_S)

    def _ends_soon(self, note: Note) -> bool:
        return note["ends_at"] - self._notes.clock() < self._settings.cache_ttl_s / 2

    def _making_pays(self, prefix: Prefix) -> bool:
        model = prefix.question.model
        advice = caching_pays(
            sum(prefix.tokens.expected.values()),
            self._prices.price_of(model, datetime.now(UTC)),
            uses_per_hour=prefix.uses_per_hour,
            ttl_s=self._settings.cache_ttl_s,
            min_tokens=find_model(model).cache_min_tokens,
        )
        return advice.pays

    def _keeping_pays(self, prefix: Prefix) -> bool:
        """What is written already costs its storage alone."""
        price = self._prices.price_of(prefix.question.model, datetime.now(UTC))
        return price.cache_storage is not None and (
            prefix.uses_per_hour * (price.input - price.cached) > price.cache_storage
        )


def _first_files(question: Question) -> tuple[File, ...]:
    """Those that the first turn begins with, if something follows them in it."""
    turn = question.turns[0]
    pieces = spoken(question, turn)
    # A cache is made without a resolution, and so holds media at the default one.
    if turn.by_model or question.settings.media_resolution is not MediaResolution.UNSPECIFIED:
        return ()
    files = tuple(takewhile(lambda piece: isinstance(piece, File), pieces))
    asked_by_task = question.task is not Task.OPEN and len(question.turns) == 1
    return files if len(pieces) > len(files) or asked_by_task else ()


def _tokens(question: Question, files: tuple[File, ...]) -> Estimate:
    parts = [TextPart(text.text) for text in question.system]
    return estimate([*parts, *(MediaPart(file.facts) for file in files)], question.model)


def _digest(question: Question, files: tuple[File, ...]) -> str:
    media = [(file.facts.mime_type, hashlib.sha256(file.data).hexdigest()) for file in files]
    whole = [question.model, [text.text for text in question.system], media]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _claim(prefix: Prefix, *, input_tokens: int, cost_nanousd: int) -> Claim:
    question = prefix.question
    return Claim(
        attempt_id=uuid.uuid4().hex,
        request_id=question.request_id,
        tenant=question.tenant,
        model=question.model,
        input_tokens=input_tokens,
        cost_nanousd=cost_nanousd,
        members=(prefix.provider.name,),
    )


def _size(made: types.CachedContent) -> int:
    """In tokens. Raises AttemptFailed where it is not told."""
    if made.usage_metadata is None or not made.usage_metadata.total_token_count:
        raise AttemptFailed(Kind.MALFORMED, "a cache of no size")
    return made.usage_metadata.total_token_count


def _until(made: types.CachedContent) -> datetime:
    """When it ends. Raises AttemptFailed where it is not told."""
    if made.expire_time is None:
        raise AttemptFailed(Kind.MALFORMED, "a cache without an end")
    return made.expire_time


def _written(expected: Mapping[Modality, int], total: int) -> Mapping[Modality, int]:
    """`total` tokens by modality: the provider tells no more than their sum. Text is what the media leave."""
    media = {modality: count for modality, count in expected.items() if modality is not Modality.TEXT and count}
    text = total - sum(media.values())
    if text < 0:
        return {Modality.TEXT: total}
    return {**media, Modality.TEXT: text} if text else media


def _cached(note: Note, prefix: Prefix) -> CachedPrefix:
    return CachedPrefix(note["name"], pieces=len(prefix.files))


async def _prolonged(provider: Provider, name: str, until: datetime) -> types.CachedContent:
    """The cache with its new end; where that answer is lost, as it is. Raises AttemptFailed."""
    config = types.UpdateCachedContentConfig(expire_time=until)
    try:
        with failing_as_attempts():
            async with asyncio.timeout(CALL_S / 2):
                return await provider.client.caches.update(name=name, config=config)
    except AttemptFailed as failure:
        if not is_not_done(failure):
            with suppress(AttemptFailed), failing_as_attempts():
                return await provider.client.caches.get(name=name)
        raise


async def _is_gone(provider: Provider, name: str) -> bool:
    try:
        with failing_as_attempts():
            async with asyncio.timeout(CALL_S):
                await provider.client.caches.get(name=name)
    except AttemptFailed as failure:
        return is_absent(failure)
    return False
