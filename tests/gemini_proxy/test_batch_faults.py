"""Batches whose replicas die, whose provider fails and whose answers are lost: booked once all the same."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.rpc import code_pb2

from chiasm.v1 import batch_pb2 as pb
from services.gemini_proxy import batches
from services.gemini_proxy.accounts.books import Claim, Outcome
from services.gemini_proxy.accounts.ledger import EntryKind, Filter, Ledger
from services.gemini_proxy.accounts.redis_books import PREFIX, RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings
from services.gemini_proxy.batch_ending import BatchEnding
from services.gemini_proxy.batch_store import LOCK_S, Asked, Record, State, new_id, packed
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import Internal
from tests.gemini.config import Fault, FaultRule, default_config
from tests.gemini.conftest import client_of
from tests.gemini.server import emulator
from tests.gemini_proxy.batching import SLOW, WAIT_S, kept, replica, serving, status_of
from tests.gemini_proxy.lossy import Loss, lossy
from tests.gemini_proxy.serving import directed, question


async def test_another_replica_finishes_what_one_has_started(tmp_path: Path, redis_url: str) -> None:
    async with emulator(default_config(batch_polls=5)) as gemini:
        async with replica(tmp_path, redis_url, gemini, batch_poll_s=0.5) as first:
            batch = await first.start(*(question(f"dogs {number}") for number in range(60)))
        assert not gemini.bill.lines
        async with replica(tmp_path, redis_url, gemini) as second:
            batch = await second.ended(batch)
            results = await second.results(batch, page_size=1_000)
            await second.balanced()
            assert len(await second.books.entries()) == 60
    assert [result.response.text for result in results] == [f"You said: dogs {number}" for number in range(60)]


async def test_a_batch_whose_leases_ended_meanwhile_is_corrected(tmp_path: Path, redis_url: str) -> None:
    async with emulator(default_config(batch_polls=5)) as gemini:
        async with replica(tmp_path, redis_url, gemini, batch_poll_s=0.5, lease_s=1) as first:
            batch = await first.start(question("dogs"), question("cats"))
        client = connect(redis_url, timeout_s=5)
        books, lost = RedisBooks(client, BooksSettings(lease_s=1)), 0
        async with asyncio.timeout(WAIT_S):
            while (lost := lost + await books.sweep()) < 2:  # noqa: ASYNC110 - only time ends a lease
                await asyncio.sleep(0.05)
        await client.aclose()
        async with replica(tmp_path, redis_url, gemini) as second:
            batch = await second.ended(batch)
            await second.balanced()
            kinds = Counter((entry.kind, entry.outcome) for entry in await second.books.entries())
    assert batch.succeeded_count == 2
    assert kinds == {(EntryKind.ESTIMATED, Outcome.LOST): 2, (EntryKind.CORRECTION, Outcome.OK): 2}


async def test_what_was_held_for_a_batch_that_was_never_sent_is_given_back(tmp_path: Path, redis_url: str) -> None:
    """Its replica died amid the reservations: two of three were held."""
    async with emulator(default_config()) as gemini, kept(redis_url) as store:
        async with replica(tmp_path, redis_url, gemini) as first:
            batch = await first.start(question("dogs"))
            await first.ended(batch)
            record = await store.load(batch.name.removeprefix("batches/"))
        started_at = time.time() - LOCK_S - 1
        dead = Record(new_id(started_at), "default", record.model, "", "dead", 3, started_at)
        client = connect(redis_url, timeout_s=5)
        books = RedisBooks(client, BooksSettings())
        for attempt_id in dead.attempt_ids[:2]:
            await books.reserve(Claim(attempt_id, "dead", "default", record.model, 0, 10**6, ("default",)))
        await client.aclose()
        await store.add(dead, [Asked("dead", "open", 10, "", 0, 0, 10**6)] * 3)
        async with replica(tmp_path, redis_url, gemini) as second:
            left = await second.ended(pb.Batch(name=f"batches/{dead.id}"))
            await second.balanced()
            assert len(await second.books.entries()) == 1
            results = await second.results(left)
    assert left.state == pb.BATCH_STATE_FAILED
    assert [status_of(result).code for result in results] == [code_pb2.UNAVAILABLE] * 3


@pytest.mark.parametrize("as_left", ["ended but not noted", "sent but not noted"])
async def test_a_crash_is_made_good_and_books_nothing_twice(tmp_path: Path, redis_url: str, as_left: str) -> None:
    async with emulator(default_config()) as gemini, kept(redis_url) as store:
        async with replica(tmp_path, redis_url, gemini) as first:
            batch = await first.start(question("dogs"), question(directed(answer_tokens=9)))
            record = await store.load(batch.name.removeprefix("batches/"))
            asked = await store.asked(record.id)
            before = await first.results(await first.ended(batch))
            await first.balanced()
            entries = await first.books.entries()
        if as_left == "sent but not noted":
            record = replace(record, provider_name="", state=State.PENDING)
        await store.add(record, asked)
        async with replica(tmp_path, redis_url, gemini) as second:
            again = await second.ended(batch)
            after = await second.results(batch)
            await second.balanced()
            assert await second.books.entries() == entries
    assert (again.state, again.succeeded_count) == (pb.BATCH_STATE_SUCCEEDED, 2)
    assert [result.response.text for result in after] == [result.response.text for result in before]


async def test_a_batch_that_the_provider_has_lost_is_booked_at_its_worst_case(tmp_path: Path, redis_url: str) -> None:
    async with emulator(SLOW) as gemini, replica(tmp_path, redis_url, gemini, lease_s=1) as first:
        batch = await first.start(question("dogs"))
        [held] = await first.books.ledger.holdings()
        async with client_of(gemini.base_url) as client:
            [job] = [job async for job in await client.batches.list()]
            await client.batches.delete(name=job.name)
        batch = await first.ended(batch)
        [result] = await first.results(batch)
        await first.books.settled()
        [entry] = await first.books.entries()
    assert batch.state == pb.BATCH_STATE_FAILED
    assert status_of(result).code == code_pb2.UNAVAILABLE
    assert (entry.outcome, entry.kind) == (Outcome.LOST, EntryKind.ESTIMATED)
    assert entry.sums.cost_nanousd == held.cost_nanousd > 0


@pytest.mark.parametrize("code", [503, None])
async def test_a_batch_that_was_made_though_it_was_not_said_is_found(
    tmp_path: Path, redis_url: str, code: int | None
) -> None:
    async with (
        emulator(default_config()) as gemini,
        lossy(gemini.base_url, Loss("POST", "batchGenerateContent", code)) as between,
        replica(tmp_path, redis_url, gemini, base_url=between.base_url) as proxy,
    ):
        batch = await proxy.start(question("dogs"), question("cats"))
        assert batch.state == pb.BATCH_STATE_PENDING
        batch = await proxy.ended(batch)
        await proxy.balanced()
        assert await proxy.books.cost() > 0
    assert (batch.state, batch.succeeded_count) == (pb.BATCH_STATE_SUCCEEDED, 2)


async def test_a_batch_that_turns_out_not_to_be_made_holds_neither_money_nor_its_name(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOCK_S", 0.2)
    config = default_config(faults=(FaultRule(Fault("error", code=503, times=1), at="batch"),))
    async with serving(tmp_path, redis_url, config) as proxy:
        batch = await proxy.start(question("dogs"), request_id="nightly")
        assert batch.state == pb.BATCH_STATE_PENDING
        assert await proxy.books.ledger.holdings()
        batch = await proxy.ended(batch)
        again = await proxy.start(question("dogs"), request_id="nightly")
        assert again.name != batch.name
        again = await proxy.ended(again)
        await proxy.balanced()
    assert batch.state == pb.BATCH_STATE_FAILED
    assert again.state == pb.BATCH_STATE_SUCCEEDED


@pytest.mark.parametrize("code", [400, 403, 429, 500])
async def test_a_look_that_fails_is_not_the_end(tmp_path: Path, redis_url: str, code: int) -> None:
    async with (
        emulator(default_config()) as gemini,
        lossy(gemini.base_url, Loss("GET", "/batches/", code, done=False, times=3)) as between,
        replica(tmp_path, redis_url, gemini, base_url=between.base_url) as proxy,
    ):
        batch = await proxy.ended(await proxy.start(question("dogs")))
        await proxy.balanced()
        assert len(between.struck) == 3
    assert batch.state == pb.BATCH_STATE_SUCCEEDED


@pytest.mark.parametrize("kind", ["batch", "batch-asked"])
async def test_a_batch_that_cannot_be_read_leaves_the_others_alone(tmp_path: Path, redis_url: str, kind: str) -> None:
    broken = Record(f"{0:013d}-broken", "default", "gemini-3.8-flash", "", "broken", 1, time.time() - LOCK_S - 1)
    async with emulator(default_config()) as gemini, kept(redis_url) as store:
        await store.add(broken, [Asked("broken", "open", 10, "", 0, 0, 10**6)])
        client = connect(redis_url, timeout_s=5)
        key = f'{PREFIX}{kind}:["{broken.id}"]'
        await client.set(key, '{"future": 1}' if kind == "batch" else packed(b"[]"))
        await client.aclose()
        async with replica(tmp_path, redis_url, gemini) as proxy:
            batch = await proxy.ended(await proxy.start(question("dogs")))
            await proxy.balanced()
    assert batch.state == pb.BATCH_STATE_SUCCEEDED


async def test_what_was_asked_in_a_batch_may_be_gone(redis_url: str) -> None:
    async with kept(redis_url) as store:
        with pytest.raises(Internal, match="not kept any more"):
            await store.asked("gone")


async def test_halves_of_characters_in_an_answer_are_replaced(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        requests = question(directed(answer="one \ud83d two")), question("dogs")
        batch = await proxy.ended(await proxy.start(*requests))
        results = await proxy.results(batch)
        await proxy.balanced()
    assert [result.response.text for result in results] == ["one ? two", "You said: dogs"]


async def test_leases_live_on_while_the_provider_hangs(tmp_path: Path, redis_url: str) -> None:
    async with (
        emulator(default_config()) as gemini,
        lossy(gemini.base_url, Loss("GET", "/batches/", hangs=True)) as between,
        replica(tmp_path, redis_url, gemini, base_url=between.base_url, lease_s=1) as proxy,
    ):
        await proxy.start(question("dogs"))
        async with asyncio.timeout(WAIT_S):
            while not between.struck:  # noqa: ASYNC110 - a request rings no event
                await asyncio.sleep(0.01)
        ends = time.monotonic() + 3
        while time.monotonic() < ends:  # only time ends a lease
            assert len(await proxy.books.ledger.holdings()) == 1
            await asyncio.sleep(0.1)
        assert await proxy.books.entries() == []


async def test_answers_that_are_missing_are_in_the_usage_as_they_are_booked(redis_url: str) -> None:
    record = Record(new_id(time.time()), "default", "gemini-3.8-flash", "default", "r", 2, time.time(), State.RUNNING)
    client = connect(redis_url, timeout_s=5)
    books, ledger = RedisBooks(client, BooksSettings()), Ledger(client, BooksSettings())
    async with kept(redis_url) as store:
        for attempt_id in record.attempt_ids:
            await books.reserve(Claim(attempt_id, "r", "default", record.model, 0, 1_000, ("default",), batch=True))
        await store.add(record, [Asked("r", "open", 10, "", 0, 0, 1_000)] * 2)
        answer = Chunk("dogs", TokenUsage({Modality.TEXT: 8}, answer=2), record.model, "STOP")
        await BatchEnding(books, Prices(), store).end(
            record, State.SUCCEEDED, {record.attempt_id(0): answer}, booked=True
        )
        ended = await store.load(record.id)
    today = datetime.now(UTC).date()
    entries = (await ledger.entries(Filter(today, today), page_size=9)).entries
    await client.aclose()
    assert ended.succeeded == 1
    assert ended.usage["cost_nanousd"] == sum(entry.sums.cost_nanousd for entry in entries) > 1_000
