"""A gemini_proxy without its RPCs, of which several fit into one process, before an emulated Gemini."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from services.gemini_proxy.accounts.ledger import Entry, Filter
from services.gemini_proxy.answering import Answerer, End
from services.gemini_proxy.attempting import Attempting
from services.gemini_proxy.attempts import Attempts
from services.gemini_proxy.bookkeeping import Bookkeeping
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.context_caches import ContextCaches
from services.gemini_proxy.files import Files
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from services.gemini_proxy.notes import Notes, SharedNotes
from services.gemini_proxy.placement import Placer
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.price_file import load_prices
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.question import File, Priority, Question, Settings, Task, Text, Turn
from services.gemini_proxy.waiting import WaitingRoom
from tests.gemini.config import MODELS, TEST_KEY
from tests.gemini.server import Emulator
from tests.gemini_proxy.emulated_prices import prices_toml
from tests.media_files import picture

FLASH = "gemini-3.8-flash"


@dataclass(frozen=True)
class Replica:
    """One of those that share a pool."""

    answerer: Answerer
    files: Files
    bookkeeping: Bookkeeping

    async def answer(self, question: Question) -> End:
        *_, end = [event async for event in self.answerer.answer(question, timeout_s=60, whole=True)]
        return end

    async def entries(self) -> list[Entry]:
        """Of the ledger, oldest first."""
        today = datetime.now(UTC).date()
        wanted = Filter(today - timedelta(days=1), today)
        return [entry async for entry in self.bookkeeping.ledger.export(wanted)]

    async def cost(self) -> int:
        """The ledger's sum, in nano-dollars. Fails where it may yet change."""
        entries = await self.entries()
        assert all(entry.final for entry in entries)
        return sum(entry.sums.cost_nanousd for entry in entries)


@asynccontextmanager
async def replica(
    folder: Path,
    gemini: Emulator,
    redis_url: str | None = None,
    *,
    clock: Callable[[], float] | None = None,
    **settings: object,
) -> AsyncIterator[Replica]:
    """`clock`: seconds since 1970, of what it knows of files and caches, for tests of what time does."""
    prices_file = await asyncio.to_thread(_prices_file, folder)
    given = {"api_key": SecretStr(TEST_KEY), "base_url": gemini.base_url, "models": (FLASH,)}
    configured = GeminiSettings(
        redis_url=SecretStr(redis_url) if redis_url else None,
        books_timeout_s=5,
        prices_file=prices_file,
        spool_file=folder / "spool.jsonl",
        **given | settings,
    )
    prices = Prices(load_prices(prices_file))
    pool, bookkeeping = Pool(configured), Bookkeeping(configured)
    room = WaitingRoom(bookkeeping.books, max_waiting=configured.max_waiting)
    attempts = Attempts(bookkeeping.books, prices, lease_s=configured.lease_s)
    timed = {"clock": clock} if clock else {}
    notes = SharedNotes(redis_url, timeout_s=5, **timed) if redis_url else Notes(**timed)
    files = Files(configured, pool, notes)
    placer = Placer(files, ContextCaches(configured, bookkeeping.books, prices, notes))
    attempting = Attempting(configured, pool, bookkeeping.books, prices, attempts, room)
    answerer = Answerer(configured, attempting, placer)
    await pool.start()
    tending = asyncio.create_task(bookkeeping.run())
    try:
        async with room.open():
            yield Replica(answerer, files, bookkeeping)
            await attempts.drain(20)
    finally:
        tending.cancel()
        await asyncio.wait([tending])
        await pool.close()
        await notes.close()
        await bookkeeping.close()


def _prices_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    prices_file = folder / "prices.toml"
    prices_file.write_text(prices_toml(MODELS))
    return prices_file


def padded_picture(size: int, name: str = "") -> bytes:
    """A picture of `size` bytes, unlike those of another name."""
    start = picture() + name.encode()
    return start + bytes(size - len(start))


async def asked(text: str, *media: bytes, system: str = "", tenant: str = "tests", **settings: object) -> Question:
    """A user's turn of `media` and `text`."""
    files = [
        File(data, await facts_of(data, field="data", limits=MediaLimits()), f"messages[0].parts[{place}].media.data")
        for place, data in enumerate(media)
    ]
    return Question(
        model=FLASH,
        task=Task.OPEN,
        system=(Text(system),) if system else (),
        turns=(Turn(by_model=False, pieces=(*files, Text(text))),),
        settings=Settings(**{"max_tokens": 100} | settings),
        tenant=tenant,
        request_id="request",
        priority=Priority.NORMAL,
    )
