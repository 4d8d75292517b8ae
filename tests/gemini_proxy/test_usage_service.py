"""UsageService over real sockets, its ledger in a real Valkey."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chiasm import AsyncClient, FailedPrecondition, InvalidArgument, Unavailable, UsageFilter, UsageGroup
from chiasm.results import Usage
from chiasm.v1 import usage_pb2, usage_pb2_grpc
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.ledger import Ledger
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.usage_service import UsageServer
from tests.gemini_proxy.accounts.samples import DAY_MS
from tests.gemini_proxy.test_reconciling import lines, log_row
from tests.gemini_proxy.usage_server import FLASH, LITE, USAGE, Served, listening, serving_usage, without_redis

DAY = date(2026, 11, 26)
ALL = UsageFilter(until=date(2026, 12, 1))
"""The ledger's clock is the test's; what is left out goes by the real one."""
ONE = Usage(
    input_tokens=1_220,
    output_tokens=42,
    media_input_tokens=1_120,
    cached_input_tokens=40,
    reasoning_output_tokens=12,
    cost_nanousd=700,
)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving_usage() as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(served.address, timeout_s=20) as client:
        yield client


async def test_sums_are_split_and_totalled(served: Served, client: AsyncClient) -> None:
    await served.book()
    await served.book(outcome=Outcome.FAILED, final=False)
    await served.book(model=LITE, tenant="other", member="b")
    sums = await client.usage(ALL, group_by=[UsageGroup.MODEL, UsageGroup.TENANT])
    lite, flash = sums.rows
    assert (lite.model, lite.tenant, lite.member, lite.day) == (f"models/{LITE}", "other", "", None)
    assert (lite.attempts, lite.failed_attempts, lite.estimated_attempts, lite.usage) == (1, 0, 0, ONE)
    assert (flash.model, flash.tenant) == (f"models/{FLASH}", "acme")
    assert (flash.attempts, flash.failed_attempts, flash.estimated_attempts) == (2, 1, 1)
    assert flash.usage.cost_nanousd == 1_400
    assert (sums.total.attempts, sums.total.failed_attempts, sums.total.usage.input_tokens) == (3, 1, 3_660)
    assert [row.member for row in (await client.usage(ALL, group_by=[UsageGroup.MEMBER])).rows] == ["a", "b"]
    assert (await client.usage(ALL)).rows == (sums.total,)


async def test_a_correction_leaves_one_attempt_of_the_new_figures(served: Served, client: AsyncClient) -> None:
    attempt = await served.book(outcome=Outcome.CANCELLED, final=False, cost=9_000_000, tenant="free")
    record = lines(log_row(attempt))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(record), 7):
            yield record[start : start + 7]

    done = await client.reconcile(pieces())
    cost = Prices().cost_nanousd(USAGE, FLASH, datetime(2026, 11, 26, tzinfo=UTC))
    assert (done.rows, done.corrected, done.skipped, done.difference_nanousd) == (1, 1, 0, cost - 9_000_000)
    total = (await client.usage(ALL)).total
    assert (total.attempts, total.estimated_attempts, total.usage.cost_nanousd) == (1, 0, cost)
    newest, first = [entry async for entry in client.ledger(ALL)]
    assert (newest.kind, first.kind) == ("correction", "estimated")
    assert newest.attempt_id == first.attempt_id == attempt
    assert newest.usage.cost_nanousd == cost - 9_000_000 < 0


async def test_an_empty_ledger_has_an_empty_total(client: AsyncClient) -> None:
    sums = await client.usage(ALL, group_by=[UsageGroup.DAY])
    assert (sums.rows, sums.total.attempts, sums.total.usage) == ((), 0, Usage())
    assert [entry async for entry in client.ledger(ALL)] == []


async def test_a_filter_narrows_by_each_of_its_fields(served: Served, client: AsyncClient) -> None:
    await served.book()
    served.clock.now_ms += DAY_MS
    await served.book(tenant="other", model=LITE, member="b")
    for wanted, attempts in {
        ALL: 2,
        UsageFilter(until=DAY): 1,
        UsageFilter(since=date(2026, 11, 27), until=date(2026, 11, 27)): 1,
        UsageFilter(since=date(2026, 11, 28), until=date(2026, 11, 30)): 0,
        UsageFilter(tenant="other"): 1,
        UsageFilter(model=LITE): 1,
        UsageFilter(model=f"models/{FLASH}", tenant="other"): 0,
        UsageFilter(member="b", since=DAY): 1,
    }.items():
        wanted = wanted if wanted.until else replace(wanted, until=ALL.until)
        assert (await client.usage(wanted)).total.attempts == attempts, wanted
        assert len([entry async for entry in client.ledger(wanted)]) == attempts, wanted


async def test_entries_come_newest_first_over_pages_and_days(served: Served, client: AsyncClient) -> None:
    attempts = []
    for _ in range(3):
        attempts += [await served.book() for _ in range(3)]
        served.clock.now_ms += DAY_MS
    wanted = UsageFilter(since=DAY, until=date(2026, 12, 1))
    entries = [entry async for entry in client.ledger(wanted, page_size=2)]
    assert [entry.attempt_id for entry in entries] == attempts[::-1]
    assert len({entry.name for entry in entries}) == 9
    newest = entries[0]
    assert newest.time == datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert (newest.kind, newest.outcome, newest.batch) == ("settled", "ok", False)
    assert (newest.tenant, newest.member, newest.request_id) == ("acme", "a", f"request-of-{newest.attempt_id}")
    assert newest.model_asked == newest.model_answered == f"models/{FLASH}"
    assert (newest.usage, newest.estimated_input_tokens) == (ONE, 1_300)


async def test_the_export_is_every_entry_oldest_first(served: Served, client: AsyncClient) -> None:
    attempts = [await served.book() for _ in range(1_100)]
    pieces = [piece async for piece in client.export_ledger(ALL)]
    assert max(map(len, pieces)) == 2**16
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))
    assert [row["attempt_id"] for row in rows] == attempts
    assert {row["cost_usd"] for row in rows} == {"0.000000700"}


async def test_budgets_show_what_is_spent_and_held(served: Served, client: AsyncClient) -> None:
    await served.book(cost=300_000)
    await served.reserve(cost=5_000)
    day, month, zoo = await client.budgets()
    assert (day.tenant, day.period, day.hard, day.limit_nanousd) == ("acme", "day", True, 1_000_000)
    assert (day.spent_nanousd, day.held_nanousd) == (300_000, 5_000)
    assert day.resets_at == datetime(2026, 11, 27, tzinfo=UTC)
    assert (month.period, month.hard, month.resets_at) == ("month", False, datetime(2026, 12, 1, tzinfo=UTC))
    assert (zoo.tenant, zoo.spent_nanousd) == ("zoo", 0)
    assert await client.budgets("zoo") == [zoo]
    assert await client.budgets("nobody") == []


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("QueryUsage", {"filter": {"since_day": "yesterday"}}, "filter.since_day"),
        ("QueryUsage", {"filter": {"since_day": "20261126"}}, "filter.since_day"),
        ("QueryUsage", {"filter": {"until_day": "2026-02-30"}}, "filter.until_day"),
        ("QueryUsage", {"filter": {"until_day": "٢٠٢٦-١١-٢٦"}}, "filter.until_day"),
        ("QueryUsage", {"filter": {"since_day": "2026-11-27", "until_day": "2026-11-26"}}, "filter.since_day"),
        ("QueryUsage", {"filter": {"since_day": "0001-01-01"}}, "filter.since_day"),
        ("QueryUsage", {"group_by": [1, 2, 1]}, "group_by[2]"),
        ("QueryUsage", {"group_by": [0]}, "group_by[0]"),
        ("QueryUsage", {"group_by": [99]}, "group_by[0]"),
        ("ListLedgerEntries", {"page_size": -1}, "page_size"),
        ("ListLedgerEntries", {"page_size": 1_001}, "page_size"),
        ("ListLedgerEntries", {"page_token": "2026-11-26/²-0"}, "page_token"),
        ("ListLedgerEntries", {"page_token": "2026-11-26/1-2-3"}, "page_token"),
        ("ListLedgerEntries", {"page_token": "1999-11-26/1-0"}, "page_token"),
    ],
)
async def test_a_bad_field_is_named(served: Served, method: str, request_: dict, field: str) -> None:
    request = getattr(usage_pb2, f"{method}Request")(**request_)
    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(usage_pb2_grpc.UsageServiceStub(channel), method)(request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in rpc_status.from_call(caught.value).details)
    assert bad.field_violations[0].field == field


@pytest.mark.parametrize("until", ["0001-01-01", "9999-12-31"])
async def test_days_at_the_ends_of_time_are_days(client: AsyncClient, until: str) -> None:
    assert (await client.usage(UsageFilter(until=date.fromisoformat(until)))).rows == ()


async def _each_call(client: AsyncClient) -> AsyncIterator[Exception]:
    async def record() -> AsyncIterator[bytes]:
        yield lines(log_row("attempt"))

    for call in (
        lambda: client.usage(),
        lambda: anext(client.ledger()),
        lambda: anext(client.export_ledger()),
        lambda: client.budgets(),
        lambda: client.reconcile(record()),
    ):
        with pytest.raises((FailedPrecondition, Unavailable)) as caught:
            await call()
        yield caught.value


async def test_without_redis_every_call_says_what_to_set(served: Served) -> None:
    async with without_redis(served.books) as address, AsyncClient(address, timeout_s=20) as client:
        async for error in _each_call(client):
            assert isinstance(error, FailedPrecondition)
            assert error.message == "no Redis is configured: set CHIASM_GEMINI_PROXY_REDIS_URL"


async def test_a_redis_that_is_gone_is_unavailable_and_not_named() -> None:
    gone = connect("redis://:secret@127.0.0.1:1", timeout_s=1)
    books = RedisBooks(gone, BooksSettings())
    usage = UsageServer(Ledger(gone, BooksSettings()), books, Prices())
    async with listening(usage) as address, AsyncClient(address, timeout_s=20) as client:
        async for error in _each_call(client):
            assert isinstance(error, Unavailable)
            assert "books cannot be reached" in error.message
            assert "secret" not in error.message
    await gone.aclose()


async def test_a_page_size_beyond_32_bits_is_refused_by_the_client(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgument):
        await anext(client.ledger(page_size=2**40))
