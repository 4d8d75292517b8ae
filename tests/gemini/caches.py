"""Explicit context caching: prompts kept for a time to live (https://ai.google.dev/api/caching)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from tests.gemini.bill import Bill, Line, cache_storage_cost, cache_write_cost
from tests.gemini.config import Config
from tests.gemini.faults import Faults
from tests.gemini.quotas import Clock
from tests.gemini.tokens import Counting
from tests.gemini.usage import Usage
from tests.gemini.wire import ApiError, get, json_answer, known, page_of, read_json, spellings, timestamp

_FIELDS = spellings(
    "model", "ttl", "expireTime", "displayName", "contents", "systemInstruction", "tools", "toolConfig", "name"
)
_DEFAULT_TTL = "3600s"


@dataclass
class Cache:
    name: str
    project: str
    model: str
    display_name: str
    tokens: Mapping[str, int]
    """By modality."""
    created: int
    """Microseconds since 1970, like `expires`."""
    expires: int

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": f"models/{self.model}",
            "displayName": self.display_name,
            "createTime": timestamp(self.created),
            "updateTime": timestamp(self.created),
            "expireTime": timestamp(self.expires),
            "usageMetadata": {"totalTokenCount": sum(self.tokens.values())},
        }


class Caches:
    """Routes answer what `google.genai.caches` asks; `find` serves generation."""

    def __init__(self, config: Config, counting: Counting, bill: Bill, faults: Faults, clock: Clock) -> None:
        self._models = config.models
        self._counting = counting
        self._bill = bill
        self._faults = faults
        self._clock = clock
        self._caches: dict[str, Cache] = {}

    def find(self, project: str, name: str) -> Cache:
        """By `cachedContents/...`, with Vertex's project before it or without; raises ApiError."""
        cache = self._caches.get(name.rpartition("/")[2])
        if cache is None or cache.project != project or cache.expires <= self._now():
            raise ApiError(403, "CachedContent not found (or permission denied)")
        return cache

    async def create(self, request: web.Request, project: str) -> web.Response:
        body = await read_json(request)
        known(body, _FIELDS)
        name = get(body, "model", "").rpartition("/")[2]
        model = self._models.get(name)
        if model is None or model.embedding_size:
            raise ApiError(404, f"models/{name} is not found, or is not supported for createCachedContent.")
        self._faults.raise_drawn("cache", name)
        tokens = await self._counting.tokens(project, body, name)
        if (total := sum(tokens.values())) < model.min_cached_tokens:
            raise ApiError(
                400,
                f"Cached content is too small. total_token_count={total}, "
                f"min_total_token_count={model.min_cached_tokens}",
            )
        created = self._now()
        cache = Cache(
            name=f"cachedContents/{secrets.token_hex(8)}",
            project=project,
            model=name,
            display_name=get(body, "displayName", ""),
            tokens=tokens,
            created=created,
            expires=_expiry(body, created, default=_DEFAULT_TTL),
        )
        self._caches[cache.name.rpartition("/")[2]] = cache
        self._charge(cache, "cache_write", Usage(tokens), cache_write_cost(tokens, model))
        self._store(cache, cache.expires - created)
        return json_answer(cache.as_json())

    async def get(self, request: web.Request, project: str) -> web.Response:
        return json_answer(self.find(project, request.match_info["name"]).as_json())

    async def update(self, request: web.Request, project: str) -> web.Response:
        cache = self.find(project, request.match_info["name"])
        expires = _expiry(await read_json(request), self._now(), default=None)
        self._store(cache, max(0, expires - cache.expires))
        cache.expires = expires
        return json_answer(cache.as_json())

    async def list(self, request: web.Request, project: str) -> web.Response:
        now = self._now()
        mine = [c.as_json() for c in self._caches.values() if c.project == project and c.expires > now]
        return json_answer(page_of(mine, "cachedContents", request))

    async def delete(self, request: web.Request, project: str) -> web.Response:
        del self._caches[self.find(project, request.match_info["name"]).name.rpartition("/")[2]]
        return json_answer({})

    def _store(self, cache: Cache, micros: int) -> None:
        tokens = sum(cache.tokens.values())
        if micros:
            cost = cache_storage_cost(tokens, micros, self._models[cache.model])
            self._charge(cache, "cache_storage", Usage(cache.tokens), cost)

    def _charge(self, cache: Cache, kind: str, usage: Usage, cost_nanousd: int) -> None:
        self._bill.add(
            Line(kind, cache.name, self._clock(), cache.project, cache.model, cache.model, usage, cost_nanousd)
        )

    def _now(self) -> int:
        return round(self._clock() * 1_000_000)


def _expiry(body: Mapping[str, Any], now: int, *, default: str | None) -> int:
    """When a cache ends, microseconds since 1970, by its `expireTime` or its `ttl` from now."""
    try:
        if at := get(body, "expireTime"):
            return round(datetime.fromisoformat(at).timestamp() * 1_000_000)
        ttl = get(body, "ttl", default)
        if ttl is None:
            raise ValueError("neither ttl nor expire_time is given")
        return now + int(Decimal(ttl.removesuffix("s")) * 1_000_000)
    except (ValueError, ArithmeticError) as error:
        raise ApiError(400, f"Invalid expiration: {error}") from None
