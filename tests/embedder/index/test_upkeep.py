"""Older versions: kept while somebody may read them, whatever their own age."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lancedb import AsyncTable

from services.embedder.index import upkeep
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect
from services.embedder.index.upkeep import compact, oldest_read, prune

KEEP = timedelta(seconds=1)
TIMEOUT_S = 60
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_a_version_goes_when_it_was_superseded_long_ago_whenever_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect(IndexSettings(index_uri=str(tmp_path)))
    table = await connection.create_table("table", [{"number": 1}])
    read = await table.version()
    await aged(table)
    await table.update({"number": 2})
    await compact(table)
    await prune(table, KEEP)
    reader = await connection.open_table("table")
    await reader.checkout(read)
    assert await reader.query().to_list() == [{"number": 1}]
    await aged(table)
    monkeypatch.setattr(upkeep, "MARGIN", timedelta(0))
    await prune(table, KEEP)
    assert read not in {each["version"] for each in await table.list_versions()}
    assert await table.query().to_list() == [{"number": 2}]


async def aged(table: AsyncTable) -> None:
    """Until the newest version is older than KEEP: time itself is what passes."""
    made = max(each["timestamp"].astimezone(UTC) for each in await table.list_versions())
    async with asyncio.timeout(TIMEOUT_S):
        while datetime.now(UTC) <= made + KEEP:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_what_was_the_newest_when_somebody_began_to_read_is_read() -> None:
    made = [NOON + timedelta(minutes=minute) for minute in (0, 10, 50)]
    since = {-5: 0, 0: 0, 5: 0, 10: 10, 49: 10, 50: 50, 90: 50}
    for minute, oldest in since.items():
        assert oldest_read(made, NOON + timedelta(minutes=minute)) == NOON + timedelta(minutes=oldest)
