import asyncio
import resource
from collections.abc import Awaitable
from pathlib import Path

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Booking, Lease, Limits, Settlement
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.redis_books import RedisBooks
from services.gemini_proxy.accounts.spool import Spool, origin_of
from services.gemini_proxy.bookkeeping import Bookkeeping
from services.gemini_proxy.config import GeminiSettings
from services.runtime.errors import FailedPrecondition
from tests.gemini_proxy.accounts.samples import claim, settings, settlement

KEPT = settings(local_share=1.0)


def of_claim(name: str, **others: object) -> Settlement:
    return settlement(name, origin=origin_of(claim(name), "a", began_at=1_795_000_000.0), **others)


class Recording(RedisBooks):
    """Real books that note what is settled, and leave after a number of settlements."""

    def __init__(self, client: redis.asyncio.Redis, *, stays_for: int = 1_000) -> None:
        super().__init__(client, settings(attempt_days=10_000))
        self.settled: list[Settlement] = []
        self.stays_for = stays_for

    async def settle(self, settlement: Settlement) -> Booking:
        if len(self.settled) == self.stays_for:
            raise BooksUnavailable("away")
        self.settled.append(settlement)
        return await super().settle(settlement)


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except BooksUnavailable:
        return "refused"
    return "done"


async def test_a_settlement_comes_back_as_it_was_written(spool: Spool, client: redis.asyncio.Redis) -> None:
    written = of_claim("one", batch=True, final=False)
    await spool.settled(written)
    books = Recording(client)
    assert await spool.replay(books) == 1
    assert books.settled == [written]
    assert spool.size_bytes == 0


async def test_a_replay_that_breaks_off_goes_on_the_next_time(spool: Spool, client: redis.asyncio.Redis) -> None:
    for number in range(5):
        await spool.settled(of_claim(f"attempt-{number}"))
    with pytest.raises(BooksUnavailable):
        await spool.replay(Recording(client, stays_for=3))
    await spool.settled(of_claim("afterwards"))
    books = Recording(client)
    assert await spool.replay(books) == 6
    assert [s.attempt_id for s in books.settled][-1] == "afterwards"
    assert spool.size_bytes == 0


async def test_what_is_in_flight_here_stays_in_the_spool(spool: Spool, client: redis.asyncio.Redis) -> None:
    local = LocalBooks(KEPT, spool)
    assert isinstance(await local.reserve(claim("alive")), Lease)
    books = Recording(client)
    assert await spool.replay(books) == 0
    assert spool.size_bytes > 0
    await local.settle(settlement("alive"))
    assert await spool.replay(books) == 1
    assert [s.outcome for s in books.settled] == ["ok"]


async def test_half_a_line_of_a_process_that_died_is_dropped(tmp_path: Path, client: redis.asyncio.Redis) -> None:
    path = tmp_path / "spool.jsonl"
    first = Spool(path, max_bytes=2**20)
    await first.settled(of_claim("whole"))
    await first.close()
    with path.open("a") as file:
        file.write('{"settled": {"attempt_id": "ha')
    second = Spool(path, max_bytes=2**20)
    await second.settled(of_claim("next"))
    books = Recording(client)
    assert await second.replay(books) == 2
    assert [s.attempt_id for s in books.settled] == ["whole", "next"]
    await second.close()


async def test_a_full_spool_takes_settlements_longer_than_reservations(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.jsonl", max_bytes=4_000)
    local = LocalBooks(KEPT, spool)
    names = [f"attempt-{number}" for number in range(20)]
    reservations = [await outcome(local.reserve(claim(name))) for name in names]
    settlements = [await outcome(local.settle(settlement(name))) for name in names if local.holds(name)]
    assert reservations == sorted(reservations)
    assert set(reservations) == {"done", "refused"}
    assert settlements == sorted(settlements)
    assert set(settlements) == {"done", "refused"}
    assert 3_000 < spool.size_bytes <= 4_000
    await spool.close()


async def test_a_second_process_may_not_have_the_file(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition):
        Spool(tmp_path / "spool.jsonl", max_bytes=1)


async def test_a_share_that_rounds_down_to_nothing_allows_nothing(spool: Spool) -> None:
    local = LocalBooks(settings(Limits(requests_per_minute=3), local_share=0.25), spool)
    with pytest.raises(BooksUnavailable, match="share"):
        await local.reserve(claim())


async def test_a_line_that_cannot_be_read_is_set_aside_and_the_rest_is_booked(
    spool: Spool, client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    await spool.settled(of_claim("one"))
    with (tmp_path / "spool.jsonl").open("a") as file:
        file.write('{"settled":{"attempt_id":"of a newer version","usage":{}}}\n')
    books = Recording(client)
    assert await spool.replay(books) == 1
    assert [settled.attempt_id for settled in books.settled] == ["one"]
    assert "newer version" in (tmp_path / "spool.jsonl.unread").read_text()


async def test_a_file_that_cannot_be_opened_leaves_the_spool_as_it_was(
    spool: Spool, client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    await spool.settled(of_claim("one"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await spool.replay(Recording(client))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await spool.settled(of_claim("two"))
    assert await spool.replay(Recording(client)) == 2


async def test_a_reservation_whose_caller_left_amid_it_is_not_booked(spool: Spool, client: redis.asyncio.Redis) -> None:
    books = LocalBooks(KEPT, spool)
    reserving = asyncio.create_task(books.reserve(claim("left")))
    await asyncio.sleep(0)
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    await spool.settled(of_claim("after"))
    shared = Recording(client)
    await spool.replay(shared)
    assert {settled.attempt_id: settled.sent for settled in shared.settled} == {"left": False, "after": True}


async def test_books_that_are_never_shared_need_no_spool(tmp_path: Path) -> None:
    settings = GeminiSettings(api_key="key", spool_file=tmp_path / "spool.jsonl")
    bookkeeping = Bookkeeping(settings)
    lease = await bookkeeping.books.reserve(claim("one", members=("default",)))
    assert isinstance(lease, Lease)
    assert await bookkeeping.books.settle(settlement("one")) is Booking.SETTLED
    await bookkeeping.close()
    assert not (tmp_path / "spool.jsonl").exists()
