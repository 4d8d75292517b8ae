"""Search: what filters leave deep, what compaction moves, what a query of several vectors weighs."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from lancedb.index import IvfFlat

from services.embedder.index.effort import CANDIDATES, Effort, note
from services.embedder.index.entries import Query
from services.embedder.index.filters import Comparison, Condition
from services.embedder.index.late_interaction import MAX_FIRST_VECTORS, best_by_maxsim, first_vectors, maxsim
from services.embedder.index.rows import pack
from services.embedder.index.schema import VECTOR
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, clustered, entry, unit

ENTRIES, PARTITIONS = 6_000, 60


async def test_what_fits_a_filter_is_found_where_it_lies_far(tmp_path: Path) -> None:
    """Cars alone, among the pictures nearest to a cat."""
    vectors = clustered(ENTRIES, SPEC.dimensions, 1, centres=200, spread=0.4)
    along = vectors @ unit(np.random.default_rng(3).normal(size=SPEC.dimensions))
    limit = float(np.sort(along)[ENTRIES // 8])
    cheap = ((Condition("price", Comparison.LESS, (limit,)),),)
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", SPEC)
        await collection.put([[entry(str(i), vectors[i], metadata={"price": float(along[i])})] for i in range(ENTRIES)])
        await collection.table.create_index(VECTOR, config=IvfFlat(distance_type="dot", num_partitions=PARTITIONS))
        effort = Effort({10: 4, 160: 8, 640: 16}, CANDIDATES, 1.0, datetime.now(UTC), ENTRIES, ENTRIES)
        await note(effort, collection.table, VECTOR)
        found = []
        for query in vectors[np.argsort(-along)[:40]]:
            best = np.argsort(-np.where(along < limit, vectors @ query, -2))[:10]
            hits = await collection.search(Query(query, None, 10, filter=cheap))
            found.append(len({int(hit.document_id) for hit in hits} & set(best.tolist())) / 10)
    assert np.mean(found) >= 0.9  # 0.3 where it is searched as deep as if what fits lay evenly


async def test_rows_that_a_compaction_has_moved_are_missed(tmp_path: Path) -> None:
    pages = unit(np.random.default_rng(1).normal(size=(40, 8, LATE_SPEC.dimensions)))
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", LATE_SPEC)
        for i, page in enumerate(pages):
            await collection.put([[entry(str(i), page)]])
        table = collection.table
        rows = (await table.query().select(["part"]).with_row_id().to_arrow()).column("_rowid").to_pylist()
        found, count = await best_by_maxsim(table.take_row_ids(rows), pages[3], LATE_SPEC, 5)
        assert (len(found), count) == (5, 40)
        await table.optimize()
        _, count = await best_by_maxsim(table.take_row_ids(rows), pages[3], LATE_SPEC, 5)
        assert count < 40


async def test_search_goes_on_while_rows_move(tmp_path: Path) -> None:
    """By all the vectors, by words and by both: each time what is asked for is found, first."""
    pages = unit(np.random.default_rng(1).normal(size=(1_200, 4, LATE_SPEC.dimensions)))
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", LATE_SPEC)
        for first in range(0, 1_100, 100):
            await collection.put([[entry(str(i), pages[i], text=f"word{i}")] for i in range(first, first + 100)])
        done = asyncio.Event()

        async def write() -> None:
            for i in range(1_100, 1_200):
                await collection.put([[entry(str(i), pages[i], text=f"word{i}")]])
                if i % 10 == 9:
                    await collection.table.optimize()
            done.set()

        writing = asyncio.create_task(write())
        asked = 0
        while not done.is_set() and not writing.done():
            wanted = asked * 37 % 1_100
            for query in (
                Query(pages[wanted], None, 3),
                Query(None, f"word{wanted}", 3),
                Query(pages[wanted], f"word{wanted}", 3),
            ):
                assert (await collection.search(query))[0].document_id == str(wanted)
            asked += 1
        await writing
        assert asked


def test_words_keep_their_weight_beside_a_pictures_patches() -> None:
    random = np.random.default_rng(1)
    words, patches = unit(random.normal(size=(12, 32))), unit(random.normal(size=(600, 32)))
    share = 0.1 * len(words) / len(patches)
    few = first_vectors(np.concatenate([0.9 * words, share * patches]).astype(np.float32))
    assert len(few) <= MAX_FIRST_VECTORS
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, atol=1e-5)
    kept = (words @ few.T).max(axis=1)
    assert (kept > 0.999).all()  # each word asks for itself
    assert 1 <= len(few) - len(words) <= 4


def test_few_vectors_ask_as_they_are_and_what_weighs_nothing_does_not() -> None:
    words = unit(np.random.default_rng(1).normal(size=(9, 32)))
    np.testing.assert_allclose(first_vectors(words), words, atol=1e-6)
    np.testing.assert_allclose(first_vectors(np.concatenate([words, np.zeros((5, 32), np.float32)])), words, atol=1e-6)


async def test_best_are_the_same_in_one_block_and_in_many(tmp_path: Path) -> None:
    pages = unit(np.random.default_rng(1).normal(size=(300, 6, LATE_SPEC.dimensions)))
    scores = maxsim(pages[7][:3], [pack(page, LATE_SPEC.precision) for page in pages], LATE_SPEC)
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", LATE_SPEC)
        await collection.put([[entry(str(i), page)] for i, page in enumerate(pages)])
        hits = await collection.search(Query(pages[7][:3], None, 300, exact=True))
    assert [int(hit.document_id) for hit in hits] == np.argsort(-scores, kind="stable").tolist()
