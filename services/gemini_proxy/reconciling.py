"""Corrects the ledger with the provider's own record: Vertex's request-response log, as JSON lines.

A row counts when its request carries our label. Whatever else a line holds, it is skipped and counted, never a failure.
https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from google.genai.types import GenerateContentResponseUsageMetadata, MediaModality
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json
from pydantic.alias_generators import to_camel

from services.gemini_proxy.accounts.books import Booking, Books, Outcome, Settlement
from services.gemini_proxy.accounts.errors import UnknownAttempt
from services.gemini_proxy.accounts.ledger import Entry, EntryKind, Filter, Ledger
from services.gemini_proxy.contents import ATTEMPT_LABEL
from services.gemini_proxy.prices import Prices, PriceUnknown
from services.gemini_proxy.provider import usage_of
from services.gemini_proxy.usage import TokenUsage

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 2**20
TOO_LONG = b"\0"
"""No JSON."""
MOST_CORRECTED = 1_000
"""Attempts whose differences are looked up together."""
_LONGEST_ATTEMPT = timedelta(hours=1)
"""One that ended sooner after the beginning of a record may have begun before it."""
_READ_BYTES = 64 * 2**10
_PAGE_SIZE = 1_000
# Where an attempt stands whose row is of a day: there, or beside it where it ran over midnight, or in a batch.
_DAYS_BESIDE = (0, -1, 1, -2)


@dataclass(frozen=True)
class Reconciliation:
    """What the record changed."""

    rows: int = 0
    """Rows that name an attempt of ours."""
    corrected: int = 0
    """Attempts that were corrected, those in no row of a whole record among them."""
    skipped: int = 0
    """Lines that name none, or cannot be read."""
    difference_nanousd: int = 0
    """What `corrected` cost more than the ledger had, in all; may be negative."""


@dataclass(frozen=True)
class Row:
    """One call, as the provider recorded it."""

    attempt_id: str
    at: datetime
    """Aware."""
    model: str
    """The one that answered, without `models/`."""
    usage: TokenUsage
    batch: bool


@dataclass(frozen=True)
class Span:
    """A time of which the record holds every call; both ends aware."""

    since: datetime
    until: datetime


class Reconciler:
    """Reads one record. `members`: those of the pool whose calls it can hold."""

    def __init__(self, ledger: Ledger, books: Books, prices: Prices, members: Collection[str]) -> None:
        self._ledger = ledger
        self._books = books
        self._prices = prices
        self._members = members

    async def reconcile(self, pieces: AsyncIterator[bytes], whole: Span | None = None) -> Reconciliation:
        """Settles every attempt that `pieces`, put together, tell of; and as never served those lost in the span of
        which the record is `whole`, up to its newest row, and that it does not tell of. Raises BooksUnavailable; again
        is harmless.
        """
        rows = corrected = skipped = difference = 0
        newest = datetime.min.replace(tzinfo=UTC)
        pending: dict[str, date] = {}
        lost = await self._lost(whole) if whole is not None else {}
        async with aclosing(lines_of(pieces)) as lines:
            async for line in lines:
                try:
                    row = read_row(line)
                    newest = max(newest, row.at)
                    booking = await self._settle(row)
                except (ValueError, UnknownAttempt, PriceUnknown) as error:
                    skipped += 1
                    if isinstance(error, PriceUnknown):
                        logger.warning("attempt %s stays as it is: %s", row.attempt_id, error.message)
                    continue
                rows += 1
                lost.pop(row.attempt_id, None)
                if booking is not Booking.REPEATED:
                    corrected += 1
                    pending[row.attempt_id] = row.at.astimezone(UTC).date()
                if len(pending) == MOST_CORRECTED:
                    difference += await self._difference(pending)
                    pending.clear()
        for entry in lost.values():
            # What came after its newest row a record may lack because it was written before.
            in_time = entry.at <= newest
            if in_time and await self._books.settle(_never_served(entry.attempt_id)) is not Booking.REPEATED:
                corrected += 1
                difference += await self._difference({entry.attempt_id: _day_of(entry)})
        difference += await self._difference(pending)
        return Reconciliation(rows, corrected, skipped, difference)

    async def _lost(self, whole: Span) -> dict[str, Entry]:
        """The entry of every attempt of the members that ended in the span and stands by an estimate."""
        lost: dict[str, Entry] = {}
        since = whole.since + _LONGEST_ATTEMPT
        days = Filter((since - _LONGEST_ATTEMPT).astimezone(UTC).date(), whole.until.astimezone(UTC).date())
        async with aclosing(self._ledger.export(days)) as entries:
            async for entry in entries:
                # The provider works on at what was given up, and records it later.
                in_span = entry.member in self._members and since <= entry.at <= whole.until - _LONGEST_ATTEMPT
                if entry.kind is EntryKind.ESTIMATED and in_span:
                    lost[entry.attempt_id] = entry
                elif entry.kind is EntryKind.CORRECTION:
                    lost.pop(entry.attempt_id, None)
        return lost

    async def _settle(self, row: Row) -> Booking:
        return await self._books.settle(
            Settlement(
                row.attempt_id,
                # Only an attempt whose end we never heard of is corrected; whom it answered is not known.
                Outcome.LOST,
                row.usage,
                self._prices.cost_nanousd(row.usage, row.model, row.at, batch=row.batch),
                answered_by=row.model,
                final=True,
                batch=row.batch,
            )
        )

    async def _difference(self, corrected: Mapping[str, date]) -> int:
        """The sum of the newest entries of these attempts, which stand among the newest of their days."""
        total = 0
        for day in set(corrected.values()):
            missing = {attempt_id for attempt_id, its_day in corrected.items() if its_day == day}
            for shift in _DAYS_BESIDE:
                total += await self._sum_newest(missing, day + timedelta(days=shift))
        return total

    async def _sum_newest(self, missing: set[str], day: date) -> int:
        """Of those that stand in `day`, which are taken out of `missing`."""
        total, cursor = 0, ""
        while missing:
            page = await self._ledger.entries(Filter(day, day), page_size=_PAGE_SIZE, cursor=cursor)
            for entry in page.entries:
                if entry.attempt_id in missing:
                    missing.remove(entry.attempt_id)
                    total += entry.sums.cost_nanousd
            cursor = page.cursor
            if not cursor:
                break
        return total


def _day_of(entry: Entry) -> date:
    """Of the ledger in which it stands."""
    return date.fromisoformat(entry.name.partition("/")[0])


def _never_served(attempt_id: str) -> Settlement:
    return Settlement(attempt_id, Outcome.LOST, TokenUsage(), cost_nanousd=0, answered_by="", final=True)


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines that are not blank, without their ends; of one that is longer than 16 MiB, `TOO_LONG` in its place."""
    line = bytearray()
    async for piece in pieces:
        for start in range(0, len(piece), _READ_BYTES):
            await asyncio.sleep(0)  # a large piece must not keep other calls waiting
            *ended, rest = piece[start : start + _READ_BYTES].split(b"\n")
            for part in ended:
                _append(line, part)
                if line.strip():
                    yield bytes(line)
                line.clear()
            _append(line, rest)
    if line.strip():
        yield bytes(line)


def _append(line: bytearray, part: bytes) -> None:
    if len(line) + len(part) > MAX_LINE_BYTES:
        line[:] = TOO_LONG
    elif line != TOO_LONG:
        line += part


def read_row(line: bytes) -> Row:
    """Raises ValueError for one that names no attempt, or is none."""
    row = _LogRow.model_validate_json(line)
    response = row.full_response
    usage = usage_of(response.usage_metadata.to_sdk())
    if min((*usage.input.values(), *usage.cached.values()), default=0) < 0:
        raise ValueError("the details are more than their sum")
    if not 2020 <= row.logging_time.year <= 2100:
        raise ValueError("no time of ours")
    return Row(
        attempt_id=row.full_request.labels.attempt_id,
        at=row.logging_time if row.logging_time.tzinfo else row.logging_time.replace(tzinfo=UTC),
        model=(response.model_version or row.model).rpartition("/")[2],
        usage=usage,
        batch="batch" in row.api_method.lower(),
    )


def _without_utc(value: object) -> object:
    """`2026-11-26 12:00:00 UTC` is how BigQuery exports a time."""
    return value.removesuffix(" UTC") if isinstance(value, str) else value


# The SDK's types refuse fields they do not know, which the log has, and warn of words they do not know.
class _Said(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/@-]{1,200}$")]


class _Detail(_Said):
    modality: str | None = None
    token_count: _Count | None = None

    def to_sdk(self) -> dict[str, object]:
        known = self.modality if self.modality in MediaModality.__members__ else None
        return {"modality": known, "token_count": self.token_count}


class _UsageMetadata(_Said):
    prompt_token_count: _Count
    prompt_tokens_details: tuple[_Detail, ...] = ()
    tool_use_prompt_token_count: _Count | None = None
    tool_use_prompt_tokens_details: tuple[_Detail, ...] = ()
    cached_content_token_count: _Count | None = None
    cache_tokens_details: tuple[_Detail, ...] = ()
    candidates_token_count: _Count | None = None
    thoughts_token_count: _Count | None = None

    def to_sdk(self) -> GenerateContentResponseUsageMetadata:
        fields = {
            name: [detail.to_sdk() for detail in value] if isinstance(value, tuple) else value for name, value in self
        }
        return GenerateContentResponseUsageMetadata.model_validate(fields)


class _Response(_Said):
    usage_metadata: _UsageMetadata
    model_version: _ModelName | None = None


class _Labels(BaseModel):
    attempt_id: str = Field(alias=ATTEMPT_LABEL, pattern=r"^[a-z0-9_-]{1,63}$")


class _Request(BaseModel):
    labels: _Labels


class _LogRow(BaseModel):
    """A row of the log. BigQuery exports its JSON columns as objects, or as text that holds them."""

    model_config = ConfigDict(protected_namespaces=())

    logging_time: Annotated[datetime, BeforeValidator(_without_utc)]
    model: _ModelName
    api_method: str = ""
    full_request: _Request | Json[_Request]
    full_response: _Response | Json[_Response]
