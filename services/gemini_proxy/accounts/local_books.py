"""The books that a replica keeps by itself while the shared ones are away: a share of each limit, and no hard budgets.

Its leases end with the process. What it reserves and settles goes to the spool, for the shared books to have.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor, inf
from typing import Any

from services.gemini_proxy.accounts.books import Booking, Books, Claim, Dimension, Lease, Origin, Refusal, Settlement
from services.gemini_proxy.accounts.claims import block_s, check_claim
from services.gemini_proxy.accounts.errors import BooksUnavailable, UnknownAttempt
from services.gemini_proxy.accounts.periods import PACIFIC, day_at
from services.gemini_proxy.accounts.settings import BooksSettings
from services.gemini_proxy.accounts.spool import Spool, origin_of
from services.gemini_proxy.accounts.windows import Entry, Window

# As in scripts/common.lua, room.lua and learn.lua.
MINUTE_MS = 60_001
TEN_MINUTES_MS = 600_001
SOON_MS = 100
LIMIT_KNOWN_MS = 3_600_000

Pair = tuple[str, str]
"""A member and a model; an empty model for all of the member's."""


@dataclass(frozen=True)
class _Held:
    """A lease."""

    claim: Claim
    member: str
    began_ms: int
    day: str
    """Of Pacific time."""
    request: Entry
    tokens: Entry
    spend: Entry


@dataclass(frozen=True)
class _Check:
    """A limit and what stands against it: a sum, the part that may go at any moment, and the rest as it leaves."""

    dimension: Dimension
    limit: int
    need: int
    sum: int = 0
    soon: int = 0
    leaving: Iterable[tuple[float, int]] = ()
    blocked_until: float = 0

    def passes_at(self, now_ms: float) -> float:
        """`inf` for never."""
        if self.blocked_until:
            return self.blocked_until
        if self.need > self.limit:
            return inf
        at, excess = now_ms, self.need - (self.limit - self.sum)
        for leaves, amount in ((now_ms + SOON_MS, self.soon), *self.leaving):
            if excess <= 0:
                break
            if amount:
                at, excess = max(at, leaves), excess - amount
        return at


class LocalBooks(Books):
    """Also raises BooksUnavailable for tenants with a hard budget, and for a claim that the whole limit would allow
    but this replica's share never does. With claims `ahead`, all of them together are asked for, as far as they fit.

    Args:
        settings: limits and the share of them.
        spool: where reservations and settlements go; None where there are no shared books that could ever take them.
        clock: milliseconds since 1970.
    """

    def __init__(
        self,
        settings: BooksSettings,
        spool: Spool | None,
        *,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._requests: defaultdict[Pair, Window] = defaultdict(Window)
        self._tokens: defaultdict[Pair, Window] = defaultdict(Window)
        self._spend: defaultdict[str, Window] = defaultdict(Window)
        self._days: Counter[tuple[Pair, str]] = Counter()
        self._blocks: dict[Pair, tuple[Dimension, float]] = {}
        self._learned: dict[tuple[Pair, Dimension], tuple[int, float]] = {}

    def holds(self, attempt_id: str) -> bool:
        """Whether it was reserved here and not settled yet."""
        return attempt_id in self._held

    async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
        check_claim(claim)
        if claim.batch:
            raise BooksUnavailable("the books cannot be reached, and a batch outlives this process")
        if any(budget.hard for budget in self._settings.budgets_of(claim.tenant).by_period().values()):
            raise BooksUnavailable("the books cannot be reached, and this tenant's budget allows nothing without them")
        if claim.attempt_id in self._held:
            return Lease(claim.attempt_id, self._held[claim.attempt_id].member)
        now = self._clock()
        choices = [(member, list(self._checks(claim, member, ahead, now))) for member in claim.members]
        member, checks = min(choices, key=lambda choice: (_latest(choice[1], now)[0], -_spare(choice[1])))
        at, last = _latest(checks, now)
        if last is not None:
            if at == inf and last.need <= self._limits(member, claim.model, now)[last.dimension]:
                raise BooksUnavailable(
                    "the books cannot be reached, and this replica's share of the limit is too small"
                )
            return Refusal(last.dimension, last.limit, None if at == inf else (at - now) / 1000)
        if not ahead:
            self._hold(claim, member, now)
            try:
                if self._spool is not None:
                    await self._spool.reserved(claim, member, now / 1000)
            except BaseException:
                self._release(self._held.pop(claim.attempt_id), now)
                raise
        return Lease(claim.attempt_id, member)

    async def counted(self, attempt_id: str) -> None:
        held = self._held.get(attempt_id)
        if held is not None:
            self._date(held, self._clock())

    async def renew(self, attempt_ids: Collection[str]) -> None:
        """Leases here end with the process."""

    async def settle(self, settlement: Settlement) -> Booking:
        origin = self.close(settlement) or settlement.origin
        if origin is None:
            raise UnknownAttempt(f"attempt {settlement.attempt_id} was not reserved here")
        if self._spool is not None:
            await self._spool.settled(replace(settlement, origin=origin))
        return Booking.SETTLED

    def close(self, settlement: Settlement) -> Origin | None:
        """Ends a lease of these books, without a word to the spool; whose it was, None for one that is not held."""
        held = self._held.pop(settlement.attempt_id, None)
        if held is None:
            return None
        now = self._clock()
        if not settlement.sent:
            self._release(held, now)
        else:
            pair = held.member, held.claim.model
            self._date(held, now)
            self._tokens[pair].amend(held.tokens, settlement.usage.input_tokens or held.claim.input_tokens)
            self._spend[held.member].amend(held.spend, settlement.cost_nanousd)
            self._spend[held.member].date(held.spend, now + TEN_MINUTES_MS)
        return origin_of(held.claim, held.member, began_at=held.began_ms / 1000, ended_at=now / 1000)

    async def learn(
        self, member: str, model: str, dimension: Dimension, *, retry_after_s: float | None, limit: int | None
    ) -> None:
        now = self._clock()
        pair = member, "" if dimension is Dimension.SPEND_PER_10_MINUTES else model
        until = now + 1000 * block_s(dimension, retry_after_s)
        if dimension is Dimension.REQUESTS_PER_DAY:
            until = day_at(now, PACIFIC).ends_ms
        if until > self._blocks.get(pair, (dimension, 0))[1]:
            self._blocks[pair] = dimension, until
        if limit is not None:
            self._learned[pair, dimension] = limit, now + LIMIT_KNOWN_MS

    async def sweep(self) -> int:
        """Leases here end with the process."""
        return 0

    def _checks(self, claim: Claim, member: str, ahead: Sequence[Claim], now: int) -> Iterator[_Check]:
        pair = member, claim.model
        limits = self._limits(member, claim.model, now)
        for key in (pair, (member, "")):
            dimension, until = self._blocks.get(key, (Dimension.CONCURRENCY, 0))
            if until > now:
                yield _Check(dimension, limits.get(dimension, 0), 0, blocked_until=until)

        def check(dimension: Dimension, own: int, others: Iterable[int], **stands: Any) -> Iterator[_Check]:
            if dimension in limits:
                limit = floor(limits[dimension] * self._settings.local_share)
                yield _Check(dimension, limit, max(own, min(own + sum(others), limit)), **stands)

        same = [earlier for earlier in ahead if earlier.model == claim.model]
        ones, tokens = [1] * len(same), [earlier.input_tokens for earlier in same]
        requests = self._requests[pair]
        requests.slide(now)
        # Those in flight count for 60 s from their answer: they leave no sooner than that.
        leaving = [*requests.leaving(), (now + MINUTE_MS, requests.in_flight)]
        yield from check(Dimension.REQUESTS_PER_MINUTE, 1, ones, sum=requests.sum, leaving=leaving)
        yield from check(
            Dimension.INPUT_TOKENS_PER_MINUTE, claim.input_tokens, tokens, **_standing(self._tokens[pair], now)
        )
        today = day_at(now, PACIFIC)
        of_today = self._of_day(pair, today.name)
        yield from check(Dimension.REQUESTS_PER_DAY, 1, ones, sum=of_today, leaving=[(today.ends_ms, of_today)])
        costs = [earlier.cost_nanousd for earlier in ahead]
        yield from check(
            Dimension.SPEND_PER_10_MINUTES, claim.cost_nanousd, costs, **_standing(self._spend[member], now)
        )
        slots = sum((held.member, held.claim.model) == pair for held in self._held.values())
        yield from check(Dimension.CONCURRENCY, 1, ones, sum=slots, soon=slots)

    def _limits(self, member: str, model: str, now: int) -> dict[Dimension, int]:
        """The settings', or less where the provider has said so; not this replica's share yet."""
        limits = {}
        known = self._settings.limits_of(member, model)
        for dimension in Dimension:
            said = [self._learned.get((pair, dimension), (0, 0)) for pair in ((member, model), (member, ""))]
            all_of = [known[dimension]] if dimension in known else []
            all_of += [limit for limit, until in said if until > now]
            if all_of:
                limits[dimension] = min(all_of)
        return limits

    def _of_day(self, pair: Pair, day: str) -> int:
        """Requests of a Pacific day, with those of yesterday that are in flight: they may count today."""
        late = sum(
            (held.member, held.claim.model) == pair and held.day != day and held.request.leaves_ms == inf
            for held in self._held.values()
        )
        return self._days[pair, day] + late

    def _hold(self, claim: Claim, member: str, now: int) -> None:
        pair, day = (member, claim.model), day_at(now, PACIFIC).name
        self._days = Counter({key: count for key, count in self._days.items() if key[1] >= day})
        self._days[pair, day] += 1
        self._held[claim.attempt_id] = _Held(
            claim=claim,
            member=member,
            began_ms=now,
            day=day,
            request=self._requests[pair].add(1),
            tokens=self._tokens[pair].add(claim.input_tokens),
            spend=self._spend[member].add(claim.cost_nanousd),
        )

    def _date(self, held: _Held, now: int) -> None:
        pair, today = (held.member, held.claim.model), day_at(now, PACIFIC).name
        if held.request.leaves_ms == inf and held.day != today:
            self._days[pair, today] += 1
        self._requests[pair].date(held.request, now + MINUTE_MS)
        self._tokens[pair].date(held.tokens, now + MINUTE_MS)

    def _release(self, held: _Held, now: int) -> None:
        """As if it had never been claimed."""
        pair = held.member, held.claim.model
        for window, entry in (
            (self._requests[pair], held.request),
            (self._tokens[pair], held.tokens),
            (self._spend[held.member], held.spend),
        ):
            window.amend(entry, 0)
            window.date(entry, now)
        if self._days[pair, held.day]:
            self._days[pair, held.day] -= 1


def _standing(window: Window, now: int) -> dict[str, Any]:
    """What is in flight may turn out to be less, or nothing at all, at any moment."""
    window.slide(now)
    return {"sum": window.sum, "soon": window.in_flight, "leaving": window.leaving()}


def _latest(checks: Sequence[_Check], now: int) -> tuple[float, _Check | None]:
    """When all pass, and which is the last to; None when all pass now."""
    at, last = float(now), None
    for check in checks:
        passes_at = check.passes_at(now)
        if passes_at > at:
            at, last = passes_at, check
    return at, last


def _spare(checks: Sequence[_Check]) -> float:
    """The least share of a limit that is left."""
    return min(
        ((check.limit - check.sum - check.need) / max(check.limit, 1) for check in checks if not check.blocked_until),
        default=1.0,
    )
