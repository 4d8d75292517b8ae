"""Search while others write, and maintenance compacts, trains and prunes: every search answers, with all its hits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from services.embedder.index.catalogue import Catalogue
from services.embedder.index.collection import Collection
from services.embedder.index.entries import CollectionSpec, Query
from services.embedder.models.model import Vectors
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, entry, unit

STAY, WRITES, AT_ONCE = 40, 12, 30
TIMEOUT_S = 60
KEPT = {"index_maintenance_s": 0.02, "index_min_entries": 256}


@pytest.mark.parametrize("spec", [SPEC, LATE_SPEC], ids=lambda spec: spec.name)
async def test_no_search_fails_and_no_hit_is_lost(tmp_path: Path, spec: CollectionSpec) -> None:
    vectors = _vectors(spec, STAY)
    async with catalogue(tmp_path, **KEPT) as writer, catalogue(tmp_path, max_staleness_s=0.5, **KEPT) as reader:
        written = await writer.create("tenant", spec)
        await written.put([[entry(f"stays-{i}", vectors[i], text=f"stays{i}")] for i in range(STAY)])
        read = await reader.get("tenant", spec.name)
        writing = asyncio.create_task(_write(written, spec))
        async with asyncio.timeout(TIMEOUT_S), _running(writer), _running(reader):
            number = 0
            while not writing.done() or (await written.state()).recall is None:
                for collection in (written, read):
                    await _search(collection, vectors, number % STAY)
                number += 1
        await writing


async def _search(collection: Collection, vectors: Vectors, i: int) -> None:
    vector, word = vectors[i], f"stays{i}"
    queries = [
        Query(vector, None, 3),
        Query(vector, None, 3, exact=True),
        Query(None, word, 3),
        Query(vector, word, 3),
    ]
    for hits in await asyncio.gather(*map(collection.search, queries)):
        assert hits[0].document_id == f"stays-{i}"


async def _write(collection: Collection, spec: CollectionSpec) -> None:
    """Documents that come, and are replaced and removed."""
    for number in range(WRITES):
        vectors = _vectors(spec, AT_ONCE, seed=number + 1)
        await collection.put(
            [[entry(f"{number % 10}-{i}", vectors[i], digest=str(number), text="other")] for i in range(AT_ONCE)]
        )
        await collection.remove([f"{number % 10}-{i}" for i in range(AT_ONCE // 10)])


def _vectors(spec: CollectionSpec, count: int, *, seed: int = 0) -> Vectors:
    shape = (count, 4, spec.dimensions) if spec.late_interaction else (count, spec.dimensions)
    return unit(np.random.default_rng(seed).normal(size=shape))


@asynccontextmanager
async def _running(replica: Catalogue) -> AsyncIterator[None]:
    maintenance = asyncio.create_task(replica.run())
    try:
        yield
        assert not maintenance.done()
    finally:
        maintenance.cancel()
        with suppress(asyncio.CancelledError):
            await maintenance
