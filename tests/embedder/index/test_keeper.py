"""Maintenance: an index that is built, measured and followed, by one replica at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from services.embedder.index import keeper
from services.embedder.index.catalogue import Catalogue
from services.embedder.index.collection import Collection
from services.embedder.index.effort import CANDIDATES, METADATA_KEY, Effort, reach_for
from services.embedder.index.entries import CollectionState, Query
from services.embedder.index.filters import Comparison, Condition
from services.embedder.index.leases import Leases
from services.embedder.index.schema import LIVE, VECTOR, schema_of
from services.embedder.index.settings import IndexSettings
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, clustered, document, entry

ENTRIES = 2_000
VECTORS = clustered(ENTRIES, SPEC.dimensions, 1)
KEPT = {"index_maintenance_s": 0.02, "index_min_entries": 1_000}
TIMEOUT_S = 60


@asynccontextmanager
async def running(replica: Catalogue) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(replica.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(collection: Collection, fits: Callable[[CollectionState], bool]) -> CollectionState:
    async with asyncio.timeout(TIMEOUT_S):
        while not fits(state := await collection.state()):  # noqa: ASYNC110 - maintenance tells nobody
            await asyncio.sleep(0.02)
    return state


async def fill(collection: Collection, first: int, last: int) -> None:
    await collection.put(
        [
            [entry(str(i), VECTORS[i], text=f"word{i}", metadata={"year": i, "sold": i % 3 == 0})]
            for i in range(first, last)
        ]
    )


async def test_an_index_is_built_measured_and_followed(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **KEPT) as replica, running(replica) as maintenance:
        collection = await replica.create("tenant", SPEC)
        await fill(collection, 0, 1_500)
        state = await until(collection, lambda state: state.recall is not None and not state.unindexed)
        assert (state.entries, state.indexed) == (1_500, 1_500)
        assert state.recall >= 0.99
        assert state.measured is not None
        # What is put now is found at once, and in the index soon.
        await fill(collection, 1_500, ENTRIES)
        assert (await collection.search(Query(VECTORS[-1], None, 1)))[0].document_id == str(ENTRIES - 1)
        assert (await collection.search(Query(None, f"word{ENTRIES - 1}", 1)))[0].document_id == str(ENTRIES - 1)
        await until(collection, lambda state: state.indexed == ENTRIES)
        assert not maintenance.done()
        found = await recall(collection)
        assert found >= 0.99


async def recall(collection: Collection, entries: int = ENTRIES) -> float:
    """At 10, over filters of every width."""
    year = np.arange(entries)
    filters = [
        (None, np.full(entries, True)),
        (((Condition("sold", Comparison.IN, (True,)),),), year % 3 == 0),
        (((Condition("year", Comparison.LESS, (150,)),),), year < 150),
    ]
    found = []
    for query in clustered(20, SPEC.dimensions, 2):
        scores = VECTORS[:entries] @ query
        for filter, fits in filters:
            best = np.argsort(-np.where(fits, scores, -2))[:10]
            hits = await collection.search(Query(query, None, 10, filter=filter))
            found.append(len({hit.document_id for hit in hits} & {str(i) for i in best}) / 10)
    return float(np.mean(found))


async def test_pages_of_several_vectors_have_an_index_too(tmp_path: Path) -> None:
    pages = clustered(ENTRIES * 8, LATE_SPEC.dimensions, 1).reshape(ENTRIES, 8, -1)
    async with catalogue(tmp_path, **KEPT) as replica:
        collection = await replica.create("tenant", LATE_SPEC)
        await collection.put([[entry(str(i), pages[i])] for i in range(1_000)])
        async with running(replica):
            state = await until(collection, lambda state: state.recall is not None)
        assert (state.indexed, state.unindexed) == (1_000, 0)
        assert state.recall >= 0.95
        for i in range(0, 1_000, 100):
            assert (await collection.search(Query(pages[i][:4], None, 1)))[0].document_id == str(i)


async def test_parts_that_were_lost_leave_no_row(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **KEPT) as replica, running(replica):
        collection = await replica.create("tenant", SPEC)
        await collection.put([document("doc", 5, "a")])
        await collection.put([document("doc", 2, "b")])
        async with asyncio.timeout(TIMEOUT_S):
            while await collection.table.count_rows(f"NOT ({LIVE})"):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)
        assert await collection.digests(["doc"]) == {"doc": ("b", 2)}


async def test_writing_and_maintenance_of_two_replicas_lose_nothing(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **KEPT) as one, catalogue(tmp_path, **KEPT) as other:
        mine, theirs = await one.create("tenant", SPEC), await other.create("tenant", SPEC)
        async with running(one), running(other):
            for number in range(20):
                await asyncio.gather(
                    mine.put([document(f"one-{number}", 1, "a"), document("both", 1 + number % 3, f"one-{number}")]),
                    theirs.put([document(f"two-{number}", 2, "a"), document("both", 3, f"two-{number}")]),
                )
            wanted = [f"{name}-{number}" for name in ("one", "two") for number in range(20)] + ["both"]
            assert (await mine.digests(wanted)).keys() == set(wanted)


async def test_a_storage_that_fails_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with catalogue(tmp_path, **KEPT) as replica:
        collection = await replica.create("tenant", SPEC)
        await collection.put([document("doc", 1, "a")])
        versions = tmp_path / f"{collection.table.name}.lance" / "_versions"
        versions.rename(tmp_path / "gone")
        async with running(replica) as maintenance:
            with caplog.at_level(logging.WARNING):
                async with asyncio.timeout(TIMEOUT_S):
                    while not any("not maintained" in each.message for each in caplog.records):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            assert not maintenance.done()
            (tmp_path / "gone").rename(versions)
            await fill(collection, 0, 1_000)
            await until(collection, lambda state: state.recall is not None)


async def test_an_index_that_was_left_unmeasured_is_measured(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **KEPT) as died:
        collection = await died.create("tenant", SPEC)
        await fill(collection, 0, 1_000)
        async with running(died):
            await until(collection, lambda state: state.recall is not None)
        # As a replica leaves it that is killed between bringing the index up to date and measuring it.
        effort = Effort.of(await collection.table.schema(), VECTOR)
        await note(collection, replace(effort, probes={}).to_json())
    async with catalogue(tmp_path, max_staleness_s=0, **KEPT) as replica, running(replica):
        collection = await replica.get("tenant", SPEC.name)
        async with asyncio.timeout(TIMEOUT_S):
            while not Effort.of(await collection.table.schema(), VECTOR).probes:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)


async def test_what_nobody_foresaw_in_one_collection_leaves_the_others_maintained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with catalogue(tmp_path, **KEPT) as replica:
        broken = await replica.create("tenant", replace(SPEC, name="broken"))
        collection = await replica.create("tenant", SPEC)
        await fill(broken, 0, 1_000)
        await fill(collection, 0, 1_000)
        await note(broken, "[]")  # no replica writes it so
        async with running(replica) as maintenance:
            await until(collection, lambda state: state.recall is not None)
            assert not maintenance.done()
    told = [each for each in caplog.records if each.exc_info]
    assert any("broken" in each.message and each.exc_info[0] is TypeError for each in told)


async def test_an_index_of_many_parts_is_trained_anew(tmp_path: Path) -> None:
    async with catalogue(tmp_path, **KEPT) as replica:
        collection = await replica.create("tenant", SPEC)
        await fill(collection, 0, 1_000)
        seen = []
        async with running(replica):
            for last in range(1_000, 1_004):
                await fill(collection, last, last + 1)
                await until(collection, lambda state: state.indexed == last + 1)  # noqa: B023
                seen.append(await segments(collection))
            async with asyncio.timeout(TIMEOUT_S):
                while await segments(collection) > keeper.SEGMENTS_QUIET:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
        assert max(seen) > 1  # what comes is put beside what there is
        assert await recall(collection, 1_004) >= 0.99


async def test_what_trickles_in_is_followed_with_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with catalogue(tmp_path, **KEPT) as replica:
        collection = await replica.create("tenant", SPEC)
        connection = await lancedb.connect_async(tmp_path)
        kept = keeper.Keeper(connection, await Leases.open(connection), IndexSettings(**KEPT))

        async def look() -> int:
            """Twice, so that the writing has paused; what the index has not got."""
            for _ in range(2):
                await kept.keep("pictures", partial(replica.get, "tenant", SPEC.name))
            return (await collection.state()).unindexed

        monkeypatch.setattr(keeper, "RESTS", 0)
        await fill(collection, 0, 1_000)
        assert await look() == 0
        monkeypatch.setattr(keeper, "RESTS", 1e6)
        await fill(collection, 1_000, 1_001)
        assert await look() == 0
        await fill(collection, 1_001, 1_002)
        assert await look() == 1
        await fill(collection, 1_002, 1_200)
        assert await look() == 0  # much is followed at once
        connection.close()


async def segments(collection: Collection) -> int:
    return await keeper.segments(collection.table, VECTOR)


async def test_an_index_of_nothing_has_a_partition(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", LATE_SPEC)
        assert await keeper.partitions(collection.table, LATE_SPEC) == 1


async def note(collection: Collection, effort: str) -> None:
    await collection.table.update_field_metadata({"path": VECTOR, "metadata": {METADATA_KEY: effort}})


def test_a_search_reaches_as_far_as_was_measured() -> None:
    effort = Effort({10: 2, 100: 8}, 400, 0.99, SPEC.created, 1_000, 1_000)
    assert [reach_for(effort, depth).probes for depth in (1, 10, 11, 100)] == [2, 2, 8, 8]
    assert reach_for(effort, 101).probes > 1_000
    assert reach_for(effort, 10).candidates == 400
    assert reach_for(None, 10).candidates == CANDIDATES
    metadata = {METADATA_KEY: effort.to_json()}
    schema = pa.schema([pa.field(VECTOR, pa.list_(pa.float32(), SPEC.dimensions), metadata=metadata)])
    assert Effort.of(schema, VECTOR) == effort
    assert Effort.of(schema_of(SPEC), VECTOR) is None
