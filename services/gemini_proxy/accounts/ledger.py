"""What was used, by whom, and what it cost: the entries of the ledger, their sums by day, and the budgets.

An entry is never changed; a correction is one more entry with the difference. Entries lie in a stream for each day of
UTC, sums in a hash for each day; both by the day of the attempt's reservation.
"""

import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import redis.asyncio

from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.periods import day_at, month_at
from services.gemini_proxy.accounts.redis_books import PREFIX, reaching_the_store
from services.gemini_proxy.accounts.settings import BooksSettings
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import InvalidArgument

MAX_DAYS = 3_660
PIECE = 500
MOST_PIECES = 40
"""Of a day's stream or of empty days that one page reads; a page may be short, or empty, and yet have a next."""


class Group(StrEnum):
    """What sums are split by."""

    TENANT = "tenant"
    MEMBER = "member"
    MODEL = "model"
    """The model that answered; the model asked where none did."""
    OUTCOME = "outcome"
    DAY = "day"


ROW = (Group.TENANT, Group.MEMBER, Group.MODEL, Group.OUTCOME)
"""What a sum is kept by within a day."""


class EntryKind(StrEnum):
    SETTLED = "settled"
    ESTIMATED = "estimated"
    """As far as is known, or the worst case; a correction may follow."""
    CORRECTION = "correction"
    """The difference to the entry before; may be negative."""


@dataclass(frozen=True)
class Filter:
    """Which part of the ledger; None does not narrow it."""

    since: date
    """The first day, of UTC."""
    until: date
    """The last day."""
    tenant: str | None = None
    member: str | None = None
    model: str | None = None
    """The model that answered, or was asked where none did."""

    def __post_init__(self) -> None:
        if self.until - self.since > timedelta(days=MAX_DAYS):
            raise InvalidArgument(f"more than {MAX_DAYS:,} days", field="since_day")

    def takes(self, row: Mapping[Group, str]) -> bool:
        wanted = {Group.TENANT: self.tenant, Group.MEMBER: self.member, Group.MODEL: self.model}
        return all(name is None or row[group] == name for group, name in wanted.items())

    def days(self) -> list[str]:
        """Oldest first."""
        return [(self.since + timedelta(days=n)).isoformat() for n in range((self.until - self.since).days + 1)]


@dataclass(frozen=True)
class Sums:
    """Of attempts, or of differences."""

    attempts: int
    not_final: int
    """Of `attempts`, those whose figures may yet be corrected."""
    usage: TokenUsage
    cost_nanousd: int


@dataclass(frozen=True)
class UsageRow:
    """One sum and what it is of."""

    of: Mapping[Group, str]
    sums: Sums


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    name: str
    """Unique, and in the order of days and of time within each."""
    at: datetime
    kind: EntryKind
    attempt_id: str
    request_id: str
    tenant: str
    member: str
    model: str
    """The model asked."""
    answered_by: str
    """The model that answered; empty when none did."""
    outcome: Outcome
    final: bool
    batch: bool
    estimated_input_tokens: int
    sums: Sums
    """Of a correction, the differences."""


@dataclass(frozen=True)
class Page:
    entries: tuple[Entry, ...]
    cursor: str
    """Asks for the next page; empty on the last."""


@dataclass(frozen=True)
class BudgetState:
    tenant: str
    period: str
    """`day` or `month`."""
    limit_nanousd: int
    hard: bool
    spent_nanousd: int
    held_nanousd: int
    resets_at: datetime


@dataclass(frozen=True)
class Holding:
    """A lease that is alive."""

    attempt_id: str
    tenant: str
    member: str
    model: str
    input_tokens: int
    cost_nanousd: int
    ends_at: datetime


class Ledger:
    """Reads what `RedisBooks` writes. Raises BooksUnavailable.

    Args:
        client: from `redis_books.connect`.
        settings: the books'.
        clock: as `RedisBooks`'.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: BooksSettings, *, clock: Callable[[], int] | None = None
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock or (lambda: int(time.time() * 1000))

    async def usage(self, wanted: Filter, group_by: Sequence[Group] = ()) -> list[UsageRow]:
        """One row for each combination that has any, in order."""
        totals: dict[tuple[str, ...], defaultdict[str, int]] = {}
        async for day, rollup in self._rollups(wanted.days()):
            for name, amount in rollup.items():
                *parts, metric = json.loads(name)
                row = dict(zip(ROW, parts, strict=True)) | {Group.DAY: day}
                if wanted.takes(row) and int(amount):
                    totals.setdefault(tuple(row[group] for group in group_by), defaultdict(int))[metric] += int(amount)
        return [
            UsageRow(dict(zip(group_by, names, strict=True)), _sums(metrics))
            for names, metrics in sorted(totals.items())
        ]

    async def entries(self, wanted: Filter, *, page_size: int, cursor: str = "") -> Page:
        """Newest day first, and newest first within a day. Raises InvalidArgument naming `page_token`."""
        days = wanted.days()[::-1]
        resumed: dict[str, str] = {}
        if cursor:
            day, _, last = cursor.partition("/")
            if day not in days or not last.replace("-", "").isdigit():
                raise InvalidArgument("not a token that this server gave for this filter", field="page_token")
            days, resumed = days[days.index(day) :], {day: f"({last}"}
        found: list[Entry] = []
        pieces = 0
        for day in await self._days_with_entries(days):
            below = resumed.get(day, "+")
            while True:
                with reaching_the_store():
                    piece = await self._client.xrevrange(f"{PREFIX}ledger:{day}", max=below, count=PIECE)
                pieces += 1
                for stream_id, fields in piece:
                    entry = _entry(f"{day}/{stream_id}", fields)
                    if wanted.takes(_row(entry)):
                        found.append(entry)
                    if len(found) == page_size:
                        return Page(tuple(found), entry.name)
                if piece and pieces >= MOST_PIECES:
                    return Page(tuple(found), f"{day}/{piece[-1][0]}")
                if len(piece) < PIECE:
                    break
                below = f"({piece[-1][0]}"
        return Page(tuple(found), "")

    async def export(self, wanted: Filter) -> AsyncIterator[Entry]:
        """Every entry, oldest first."""
        for day in await self._days_with_entries(wanted.days()):
            above = "-"
            while True:
                with reaching_the_store():
                    piece = await self._client.xrange(f"{PREFIX}ledger:{day}", min=above, count=PIECE)
                for stream_id, fields in piece:
                    entry = _entry(f"{day}/{stream_id}", fields)
                    if wanted.takes(_row(entry)):
                        yield entry
                if len(piece) < PIECE:
                    break
                above = f"({piece[-1][0]}"

    async def budgets(self, tenants: Collection[str] | None = None) -> list[BudgetState]:
        """Of these tenants, or of all that are configured or have spent this month; by tenant, the day's first."""
        now_ms = self._clock()
        periods = {"day": day_at(now_ms, UTC), "month": month_at(now_ms)}
        amounts: dict[tuple[str, str], dict[str, str]] = {}
        with reaching_the_store():
            for kind in ("spent", "held"):
                for name, period in periods.items():
                    amounts[kind, name] = await self._client.hgetall(_key(kind, name, period.name))
        if tenants is None:
            tenants = {*self._settings.budgets, *amounts["spent", "month"], *amounts["held", "month"]}
        return [
            BudgetState(
                tenant=tenant,
                period=name,
                limit_nanousd=budget.limit_nanousd,
                hard=budget.hard,
                spent_nanousd=int(amounts["spent", name].get(tenant, 0)),
                held_nanousd=int(amounts["held", name].get(tenant, 0)),
                resets_at=_time(periods[name].ends_ms),
            )
            for tenant in sorted(tenants)
            for name, budget in self._settings.budgets_of(tenant).by_period().items()
        ]

    async def holdings(self) -> list[Holding]:
        """The leases that are alive, by the time they end."""
        with reaching_the_store():
            leases = await self._client.zrange(f"{PREFIX}leases", 0, -1, withscores=True)
            async with self._client.pipeline(transaction=False) as pipeline:
                for attempt_id, _ in leases:
                    pipeline.hgetall(f"{PREFIX}attempt:{attempt_id}")
                records = await pipeline.execute()
        return [
            Holding(
                attempt_id=attempt_id,
                tenant=record["tenant"],
                member=record["member"],
                model=record["model"],
                input_tokens=int(record["tokens"]),
                cost_nanousd=int(record["cost"]),
                ends_at=_time(ends_ms),
            )
            for (attempt_id, ends_ms), record in zip(leases, records, strict=True)
            if record.get("state") == "open"
        ]

    async def _days_with_entries(self, days: Sequence[str]) -> list[str]:
        """A year's in one round trip."""
        found: list[str] = []
        for first in range(0, len(days), 366):
            some = days[first : first + 366]
            with reaching_the_store():
                async with self._client.pipeline(transaction=False) as pipeline:
                    for day in some:
                        pipeline.exists(f"{PREFIX}ledger:{day}")
                    exist = await pipeline.execute()
            found += [day for day, there in zip(some, exist, strict=True) if there]
        return found

    async def _rollups(self, days: Sequence[str]) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """A month's in one round trip."""
        for first in range(0, len(days), 31):
            some = days[first : first + 31]
            with reaching_the_store():
                async with self._client.pipeline(transaction=False) as pipeline:
                    for day in some:
                        pipeline.hgetall(f"{PREFIX}rollup:{day}")
                    rollups = await pipeline.execute()
            for found in zip(some, rollups, strict=True):
                yield found


def _entry(name: str, fields: Mapping[str, str]) -> Entry:
    return Entry(
        name=name,
        at=_time(int(fields["at"])),
        kind=EntryKind(fields["kind"]),
        attempt_id=fields["attempt"],
        request_id=fields["request"],
        tenant=fields["tenant"],
        member=fields["member"],
        model=fields["model"],
        answered_by=fields["answered"],
        outcome=Outcome(fields["outcome"]),
        final=fields["final"] == "1",
        batch=fields["batch"] == "1",
        estimated_input_tokens=int(fields["estimated"]),
        sums=_sums({field.removeprefix("+"): int(value) for field, value in fields.items() if field[0] == "+"}),
    )


def _row(entry: Entry) -> dict[Group, str]:
    return {Group.TENANT: entry.tenant, Group.MEMBER: entry.member, Group.MODEL: entry.answered_by or entry.model}


def _sums(metrics: Mapping[str, int]) -> Sums:
    def by_modality(kind: str) -> dict[Modality, int]:
        counts = {modality: metrics.get(f"{kind}.{modality}", 0) for modality in Modality}
        return {modality: count for modality, count in counts.items() if count}

    return Sums(
        attempts=metrics.get("attempts", 0),
        not_final=metrics.get("not_final", 0),
        usage=TokenUsage(
            input=by_modality("input"),
            cached=by_modality("cached"),
            answer=metrics.get("answer", 0),
            thinking=metrics.get("thinking", 0),
        ),
        cost_nanousd=metrics.get("cost", 0),
    )


def _key(kind: str, *names: str) -> str:
    """As `key` in scripts/common.lua."""
    return f"{PREFIX}{kind}:{json.dumps(names, separators=(',', ':'))}"


def _time(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
