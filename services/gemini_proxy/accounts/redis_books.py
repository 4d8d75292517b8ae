"""The books that all replicas share, in Redis: each call is one Lua script, which Redis runs by itself.

Redis must not evict keys (`maxmemory-policy noeviction`). All keys carry one hash tag, so that a cluster keeps them in
one slot; scripts make their names from the prefix that they are given.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC
from importlib import resources

import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from services.gemini_proxy.accounts.books import Booking, Books, Claim, Dimension, Lease, Refusal, Settlement
from services.gemini_proxy.accounts.claims import block_s, check_claim
from services.gemini_proxy.accounts.errors import BooksUnavailable, UnknownAttempt
from services.gemini_proxy.accounts.periods import PACIFIC, Period, day_at, days_around, month_at, months_around
from services.gemini_proxy.accounts.settings import BooksSettings
from services.runtime.cancellation import cancellation_kept
from services.runtime.errors import Internal, InvalidArgument

PREFIX = "{chiasm-gemini}:"
SHARED_PARTS = ("common", "windows", "attempts")
MOST_SWEPT_AT_ONCE = 128
DAY_MS = 86_400_000
_AWAY = (ConnectionError, TimeoutError, ReadOnlyError, OutOfMemoryError, ClusterDownError, TryAgainError)
# Too few copies, a full disk, another's endless script: redis-py has no classes for these.
_REFUSALS = ("NOREPLICAS", "MISCONF", "BUSY ")


def connect(url: str, *, timeout_s: float = 0.5, max_connections: int = 64) -> redis.asyncio.Redis:
    """A client whose every wait is bounded and that never sends a call twice."""
    return redis.asyncio.Redis.from_pool(
        redis.asyncio.BlockingConnectionPool.from_url(
            url,
            timeout=timeout_s,
            max_connections=max_connections,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            # With them on, the pool hands out connections that the server has closed.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            decode_responses=True,
        )
    )


@contextmanager
def reaching_the_store() -> Iterator[None]:
    """Around redis-py: raises BooksUnavailable in the place of its errors, whose text may name the server, where the
    store is away or refuses for now; and Internal for answers that it should never give. A cancellation wins over both.
    """
    try:
        with cancellation_kept():
            yield
    # uvloop raises a RuntimeError for a transport that was reset.
    except (*_AWAY, RuntimeError) as error:
        raise BooksUnavailable(f"the books cannot be reached ({type(error).__name__})") from None
    except ResponseError as error:
        if str(error).startswith(_REFUSALS):
            raise BooksUnavailable(f"the books take nothing now ({str(error).split()[0]})") from None
        raise Internal(f"the books answered: {error}") from error


class RedisBooks(Books):
    """Args:
    client: from `connect`; the caller closes it.
    settings: limits, budgets and terms.
    clock: milliseconds since 1970 in the place of the server's own time, for tests of what time does.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: BooksSettings, *, clock: Callable[[], int] | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._context = (0, "")
        script = {name: client.register_script(_source(*SHARED_PARTS, name)) for name in ("counted", "renew", "settle")}
        script |= {name: client.register_script(_source(*SHARED_PARTS, name)) for name in ("learn", "sweep")}
        script["reserve"] = client.register_script(_source(*SHARED_PARTS, "room", "reserve"))
        self._scripts = script

    async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
        call = {"claim": self._claim(claim), "ahead": [self._claim(earlier) for earlier in ahead]}
        match await self._run("reserve", call):
            case ["lease", member, *beyond]:
                return Lease(claim.attempt_id, member, tuple(map(Dimension, beyond)))
            case ["refusal", dimension, limit, wait_ms]:
                return Refusal(Dimension(dimension), int(limit), int(wait_ms) / 1000 if wait_ms else None)
        raise Internal(f"attempt {claim.attempt_id} was reserved again after its settlement")

    async def counted(self, attempt_id: str) -> None:
        await self._run("counted", {"attempt": attempt_id})

    async def renew(self, attempt_ids: Collection[str]) -> None:
        if attempt_ids:
            await self._run("renew", {"attempts": list(attempt_ids)})

    async def settle(self, settlement: Settlement) -> Booking:
        answer = await self._run("settle", _settlement(settlement))
        if answer == "unknown":
            raise UnknownAttempt(f"attempt {settlement.attempt_id} was never reserved")
        if answer == "too old":
            days = self._settings.attempt_days
            raise InvalidArgument(f"attempts are known for {days} days; this one is older", field="origin.began_at")
        return Booking(answer)

    async def learn(
        self, member: str, model: str, dimension: Dimension, *, retry_after_s: float | None, limit: int | None
    ) -> None:
        block_ms = round(1000 * block_s(dimension, retry_after_s))
        call = {"member": member, "model": model, "dimension": dimension, "block_ms": block_ms, "limit": limit}
        await self._run("learn", {name: value for name, value in call.items() if value is not None})

    async def sweep(self) -> int:
        swept = 0
        while True:
            count = await self._run("sweep", {"most": MOST_SWEPT_AT_ONCE})
            swept += count
            if count < MOST_SWEPT_AT_ONCE:
                return swept

    async def _run(self, name: str, call: dict[str, object]) -> object:
        now_ms = self._clock() if self._clock else ""
        with reaching_the_store():
            return await self._scripts[name](keys=[PREFIX], args=[self._context_at(now_ms), json.dumps(call), now_ms])

    def _limits(self, member: str, claim: Claim) -> dict[Dimension, int]:
        limits = self._settings.limits_of(member, claim.model)
        if not claim.batch:
            return limits
        return {name: limit for name, limit in limits.items() if name is Dimension.SPEND_PER_10_MINUTES}

    def _context_at(self, clock_ms: int | str) -> str:
        """What a script must know besides the call; made anew every hour, because all boundaries are on the hour."""
        now_ms = int(clock_ms or time.time() * 1000)
        hour = now_ms // 3_600_000
        if self._context[0] != hour:
            context = {
                "lease_ms": round(self._settings.lease_s * 1000),
                "attempt_ms": self._settings.attempt_days * DAY_MS,
                "retention_ms": self._settings.retention_days * DAY_MS,
                "day": _boundaries(days_around(now_ms, UTC)),
                "month": _boundaries(months_around(now_ms)),
                "pacific": _boundaries(days_around(now_ms, PACIFIC)),
            }
            self._context = hour, json.dumps(context)
        return self._context[1]

    def _claim(self, claim: Claim) -> dict[str, object]:
        check_claim(claim)
        return {
            "attempt": claim.attempt_id,
            "request": claim.request_id,
            "tenant": claim.tenant,
            "model": claim.model,
            "rate": f"{claim.model}:batch" if claim.batch else claim.model,
            "tokens": claim.input_tokens,
            "cost": claim.cost_nanousd,
            "members": [{"name": member, "limits": self._limits(member, claim)} for member in claim.members],
            "budgets": [
                {"period": period, "limit": budget.limit_nanousd, "hard": budget.hard}
                for period, budget in self._settings.budgets_of(claim.tenant).by_period().items()
            ],
        }


def _settlement(settlement: Settlement) -> dict[str, object]:
    usage = settlement.usage
    metrics = {"cost": 0}
    if settlement.sent:
        metrics = {
            "attempts": 1,
            "not_final": int(not settlement.final),
            "cost": settlement.cost_nanousd,
            "answer": usage.answer,
            "thinking": usage.thinking,
            **{f"input.{modality}": count for modality, count in usage.input.items()},
            **{f"cached.{modality}": count for modality, count in usage.cached.items()},
        }
    call = {
        "attempt": settlement.attempt_id,
        "outcome": settlement.outcome,
        "sent": settlement.sent,
        "final": settlement.final,
        "batch": settlement.batch,
        "answered": settlement.answered_by,
        "tokens": usage.input_tokens,
        "metrics": metrics,
    }
    origin = settlement.origin
    if origin is not None:
        began_ms = round(origin.began_at * 1000)
        day, month, pacific = day_at(began_ms, UTC), month_at(began_ms), day_at(began_ms, PACIFIC)
        call["origin"] = {
            "began": began_ms,
            "ended": round(origin.ended_at * 1000),
            "record": {
                "request": origin.request_id,
                "tenant": origin.tenant,
                "member": origin.member,
                "model": origin.model,
                "rate": origin.model,
                "tokens": origin.input_tokens,
                "cost": 0,
                "day": day.name,
                "day_ends": day.ends_ms,
                "month": month.name,
                "month_ends": month.ends_ms,
                "pacific": pacific.name,
                "pacific_ends": pacific.ends_ms,
            },
        }
    return call


def _boundaries(periods: Sequence[Period]) -> list[tuple[object, ...]]:
    return [tuple(asdict(period).values()) for period in periods]


def _source(*names: str) -> str:
    folder = resources.files(__package__) / "scripts"
    return "\n".join((folder / f"{name}.lua").read_text() for name in names)
