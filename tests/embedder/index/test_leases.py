"""Leases: one holder at a time, for as long as it works."""

import asyncio
from pathlib import Path

import pytest
from lancedb import AsyncConnection

from services.embedder.index.leases import Leases
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect

TIMEOUT_S = 60


async def leases(place: Path) -> tuple[AsyncConnection, Leases, Leases]:
    connection = await connect(IndexSettings(index_uri=str(place)))
    return connection, await Leases.open(connection), await Leases.open(connection)


async def test_a_lease_is_one_holders_until_it_ends(tmp_path: Path) -> None:
    _, one, other = await leases(tmp_path)
    for _ in range(2):
        async with one.held("a", 60) as mine, other.held("a", 60) as theirs, other.held("b", 60) as another:
            assert (mine, theirs, another) == (True, False, True)
        async with other.held("a", 60) as theirs:
            assert theirs


async def test_a_lease_is_renewed_while_the_work_goes_on(tmp_path: Path) -> None:
    connection, one, _ = await leases(tmp_path)
    table = await connection.open_table("leases")

    async def until() -> float:
        await table.checkout_latest()
        return (await table.query().to_list())[0]["until"]

    async with one.held("a", 0.4):
        first = await until()
        async with asyncio.timeout(TIMEOUT_S):
            while await until() <= first + 0.4:
                pass
    assert await until() == 0


async def test_a_lease_whose_holder_has_died_is_anothers(tmp_path: Path) -> None:
    _, one, other = await leases(tmp_path)
    async with one.held("a", 0.2) as mine:
        assert mine
        for task in asyncio.all_tasks():
            if task.get_name() == "renew the lease a":
                task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                async with other.held("a", 60) as theirs:
                    if theirs:
                        break


@pytest.mark.parametrize("amid", ["taking it", "giving it back"])
async def test_a_lease_whose_holder_is_cancelled_is_free_at_once(tmp_path: Path, amid: str) -> None:
    _, one, other = await leases(tmp_path)
    done = asyncio.Event()

    async def hold() -> None:
        async with one.held("a", 60):
            done.set()

    holding = asyncio.create_task(hold())
    if amid == "giving it back":
        await done.wait()
    await asyncio.sleep(0)
    holding.cancel()
    await asyncio.wait({holding})
    assert holding.cancelled()
    async with other.held("a", 60) as theirs:
        assert theirs
