"""Which collections there are: made and deleted at once by several, late commits, and what the killed leave behind."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lancedb import AsyncConnection

from services.embedder.index.leases import Leases
from services.embedder.index.orphans import Orphans
from services.embedder.index.registry import Registry
from services.embedder.index.schema import is_table_name, new_table_name, schema_of
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect, shared_table, table_names
from services.embedder.index.upkeep import MARGIN
from services.runtime.errors import NotFound
from tests.embedder.index.making import SPEC, catalogue, document
from tests.s3_server import BUCKET, s3_server

TENANT = "tenant"
REPLICAS = 8
STALE = {"max_staleness_s": 600}


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path)
        return
    with s3_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}/index"


async def test_replicas_that_start_at_once_have_the_same_collections(place: str) -> None:
    async def start(number: int) -> None:
        connection = await connect(IndexSettings(index_uri=place))
        registry = await Registry.open(connection, MARGIN)
        await registry.add(TENANT, replace(SPEC, name=f"c{number}"), new_table_name(TENANT, f"c{number}"))

    await asyncio.gather(*map(start, range(REPLICAS)))
    registry = await Registry.open(await connect(IndexSettings(index_uri=place)), MARGIN)
    assert set(await registry.latest()) == {(TENANT, f"c{number}") for number in range(REPLICAS)}


async def test_of_a_shared_table_there_is_one(tmp_path: Path) -> None:
    connection = await connect(IndexSettings(index_uri=str(tmp_path)))
    await asyncio.gather(*(shared_table(connection, "shared", schema_of(SPEC)) for _ in range(REPLICAS)))
    assert await table_names(connection) == ["shared"]


async def test_a_late_commit_to_a_deleted_collection_harms_none_that_is_made_anew(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path, **STALE) as other:
        late = await other.create(TENANT, SPEC)
        for number in range(5):
            await late.put([document(str(number), 1, "a")])
        # As one that has looked where it writes, and is not done.
        kept = tmp_path / f"{late.table.name}.lance"
        aside = kept.rename(tmp_path / "aside")
        await one.delete(TENANT, SPEC.name)
        anew = await one.create(TENANT, SPEC)
        await anew.put([document("doc", 1, "a")])
        aside.rename(kept)
        with pytest.raises(NotFound):
            await late.put([document("late", 1, "a")])
        await late.table.optimize()
        for replica in (one, other):
            collection = await replica.get(TENANT, SPEC.name)
            assert (await collection.digests(["doc", "late", "0"])).keys() == {"doc"}


async def test_nothing_is_acknowledged_that_was_stored_in_a_deleted_collection(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **STALE) as replica:
        collection = await replica.create(TENANT, SPEC)
        await collection.put([document("before", 1, "a")])
        # By a replica that is killed before it has dropped the table.
        registry = await Registry.open(await connect(IndexSettings(index_uri=str(tmp_path))), MARGIN)
        await registry.remove((await registry.latest())[TENANT, SPEC.name])
        with pytest.raises(NotFound):
            await collection.put([document("doc", 1, "a")])
        with pytest.raises(NotFound):
            await collection.digests(["before"])
        with pytest.raises(NotFound):
            await collection.remove(["before"])


async def test_what_another_replica_deletes_or_makes_is_known_where_it_matters(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path, **STALE) as other:
        with pytest.raises(NotFound):
            await other.get(TENANT, SPEC.name)
        await one.create(TENANT, SPEC)
        collection = await other.get(TENANT, SPEC.name)
        await one.delete(TENANT, SPEC.name)
        with pytest.raises(NotFound):
            await collection.digests(["doc"])
        with pytest.raises(NotFound):
            await other.delete(TENANT, SPEC.name)
        assert await other.list(TENANT) == []
        made = await other.create(TENANT, replace(SPEC, revision="r2"))
        assert (await one.get(TENANT, SPEC.name)).spec == made.spec
        assert (await other.get(TENANT, SPEC.name)) is made


async def test_what_is_half_made_or_half_dropped_is_in_nobodys_way_and_goes(place: str) -> None:
    async with catalogue(place) as replica:
        connection = await connect(IndexSettings(index_uri=place))
        for left in ("made", "dropped"):
            await connection.create_table(new_table_name(TENANT, left), schema=schema_of(SPEC))
        await connection.create_table("another.program", schema=schema_of(SPEC))
        for name in ("made", "dropped"):
            collection = await replica.create(TENANT, replace(SPEC, name=name))
            await collection.put([document("doc", 1, "a")])
        await replica.delete(TENANT, "dropped")
        assert [spec.name for spec in await replica.list(TENANT)] == ["made"]

        registry, leases = await Registry.open(connection, MARGIN), await Leases.open(connection)
        patient, orphans = (Orphans(connection, registry, leases, keep_s) for keep_s in (600, 0))
        before = await table_names(connection)
        for _ in range(2):
            await patient.sweep()
        assert await table_names(connection) == before
        for _ in range(2):
            await orphans.sweep()
        opened = {name for name in before if is_table_name(name) and await _opens(connection, name)}
        assert opened == {(await registry.latest())[TENANT, "made"].table}
        assert await (await replica.get(TENANT, "made")).digests(["doc"]) == {"doc": ("a", 1)}
        assert await _opens(connection, "another.program")


async def _opens(connection: AsyncConnection, name: str) -> bool:
    try:
        await connection.open_table(name)
    except ValueError:
        return False
    return True
