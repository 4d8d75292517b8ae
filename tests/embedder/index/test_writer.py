"""Documents whose callers leave before they are stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lancedb import AsyncTable

from services.embedder.index import writer as writing
from services.embedder.index.entries import Entry
from services.embedder.index.schema import schema_of
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect
from services.embedder.index.writer import Writer
from tests.embedder.index.making import SPEC, document

TIMEOUT_S = 60


@pytest.fixture
async def table(tmp_path: Path) -> AsyncTable:
    connection = await connect(IndexSettings(index_uri=str(tmp_path)))
    return await connection.create_table("table", schema=schema_of(SPEC))


@asynccontextmanager
async def busy(table: AsyncTable) -> AsyncIterator[tuple[Writer, asyncio.Event]]:
    """A writer whose storage lets a first commit end when the event is set, and all that follow at once."""
    begun, released = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        begun.set()
        await released.wait()

    writer = Writer(table, SPEC, check)
    async with asyncio.timeout(TIMEOUT_S):
        first = asyncio.create_task(writer.put([document("first", 1, "a")]))
        await begun.wait()
        yield writer, released
        released.set()
        await first
        await writer.close()


async def put(writer: Writer, entries: list[Entry]) -> asyncio.Task[None]:
    """A call that waits for its commit."""
    before = len(writer._waiting)
    task = asyncio.create_task(writer.put([entries]))
    while len(writer._waiting) == before:  # noqa: ASYNC110 - who waits tells nobody
        await asyncio.sleep(0)
    return task


async def leave(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def digest(writer: Writer, document_id: str) -> str | None:
    stored, _ = await writer.stored([document_id])
    return stored[document_id].whole[0] if document_id in stored else None


async def test_whose_caller_has_left_is_not_stored(table: AsyncTable) -> None:
    async with busy(table) as (writer, released):
        await leave(await put(writer, document("left", 1, "a")))
        stays = await put(writer, document("doc", 1, "a"))
        await leave(await put(writer, document("doc", 2, "b")))
        released.set()
        await stays
        assert await digest(writer, "doc") == "a"
        assert await digest(writer, "left") is None


async def test_a_document_has_its_room_until_it_goes(table: AsyncTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_DOCUMENTS", 3)
    async with busy(table) as (writer, released):
        for number in range(2):
            await leave(await put(writer, document(f"left-{number}", 1, "a")))
        more = asyncio.create_task(writer.put([document("doc", 1, "a")]))
        assert (writer._room.locked(), len(writer._waiting)) == (True, 2)
        released.set()
        await more
        assert await digest(writer, "doc") == "a"
        assert not writer._room.locked()
