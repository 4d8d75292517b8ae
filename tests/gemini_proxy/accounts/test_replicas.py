"""Several processes with one set of books."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Lease, Outcome
from services.gemini_proxy.accounts.ledger import Filter, Ledger
from services.gemini_proxy.accounts.redis_books import RedisBooks
from tests.gemini_proxy.accounts.replica import LEASE_S, settings_of
from tests.gemini_proxy.accounts.samples import claim

REPLICAS = 4


async def start(url: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.gemini_proxy.accounts.replica", url, *words, stdout=asyncio.subprocess.PIPE
    )


def last_days() -> Filter:
    today = datetime.now(UTC).date()
    return Filter(today - timedelta(days=1), today)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"requests_per_minute": 100}, 100),
        ({"input_tokens_per_minute": 705}, 100),
        ({"requests_per_day": 100}, 100),
        ({"spend_nanousd_per_10_minutes": 90_899}, 100),
        ({"budget_day": 90_899}, 100),
    ],
)
async def test_no_race_goes_beyond_a_limit_nor_stops_short_of_it(
    client: redis.asyncio.Redis, valkey: str, limits: dict[str, int], most: int
) -> None:
    replicas = [await start(valkey, "race", json.dumps(limits), str(number)) for number in range(REPLICAS)]
    granted = [json.loads((await replica.communicate())[0])["granted"] for replica in replicas]
    assert sum(granted) == most
    (row,) = await Ledger(client, settings_of(limits)).usage(last_days())
    assert (row.sums.attempts, row.sums.cost_nanousd) == (most, most * 900)


async def test_no_race_has_more_at_once_than_allowed(client: redis.asyncio.Redis, valkey: str) -> None:
    limits = {"concurrency": 5, "requests_per_minute": 400}
    replicas = [await start(valkey, "race", json.dumps(limits), str(number)) for number in range(REPLICAS)]
    reports = [json.loads((await replica.communicate())[0]) for replica in replicas]
    assert 1 < max(report["most_at_once"] for report in reports) <= 5
    assert await Ledger(client, settings_of(limits)).holdings() == []


async def test_a_killed_replica_holds_nothing_one_lease_later(client: redis.asyncio.Redis, valkey: str) -> None:
    limits = {"concurrency": 1, "budget_day": 1_000}
    settings = settings_of(limits)
    books, ledger = RedisBooks(client, settings), Ledger(client, settings)
    replica = await start(valkey, "hold", json.dumps(limits))
    await replica.stdout.readline()
    (holding,) = await ledger.holdings()
    replica.kill()
    await replica.wait()
    assert not isinstance(await books.reserve(claim(tenant="other")), Lease)
    left_s = holding.ends_at.timestamp() - time.time()
    assert left_s <= LEASE_S
    await asyncio.sleep(max(0.0, left_s) + 0.01)  # the promise is about time
    assert await books.sweep() == 1
    assert await ledger.holdings() == []
    (entry,) = [entry async for entry in ledger.export(last_days())]
    assert (entry.attempt_id, entry.outcome, entry.final) == ("held-by-the-dead", Outcome.LOST, False)
    (budget,) = await ledger.budgets(["acme"])
    assert (budget.spent_nanousd, budget.held_nanousd) == (900, 0)
    assert isinstance(await books.reserve(claim(tenant="other")), Lease)
