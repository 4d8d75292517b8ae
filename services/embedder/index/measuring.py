"""How well an index finds what there is, and how much of it must be searched for that."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise

import numpy as np
from lancedb import AsyncTable

from services.embedder.index.effort import ALL, CANDIDATES, Effort, Reach
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.finding import Finder
from services.embedder.index.late_interaction import maxsim
from services.embedder.index.rows import unpack
from services.embedder.index.sampling import sample
from services.embedder.index.schema import LIVE, VECTOR, VECTORS
from services.embedder.models.model import Vectors

SAMPLES, LATE_SAMPLES = 100, 24
"""Entries whose nearest are looked for."""
MEASURED_HITS, LEAST_QUERIES = 1_000, 24
"""About so many, of so many queries at least, tell how much is found: of deep searches few."""
LATE_VECTORS = 16
"""That a query of late interaction has at most."""
DEPTHS = (10, 40, 160, 640, 2_560)
NOISE = 0.75
"""How far a sample is moved before it asks, of its length: a query is like what it finds, and not the same."""
TARGET = 0.995
"""The share of what all of the index finds that the least effort must find, and what late interaction's first stage
must find of all; what is promised is 0.99."""

MAX_CANDIDATES = 1_600

_SCAN_ROWS = 4_096
_LATE_SCAN_ROWS = 256


async def measure(
    table: AsyncTable, spec: CollectionSpec, asked: Sequence[Vectors], *, partitions: int, trained: int
) -> Effort:
    """`table` stands at one version, of 10 entries or more; its index has about so many `partitions`, and was trained
    on so many entries. `asked` are queries beside the samples: what is asked by text lies elsewhere than pictures do.

    Raises what LanceDB raises.
    """
    rows = await table.count_rows()
    depths = [depth for depth in DEPTHS if depth == DEPTHS[0] or (depth * 10 <= rows and not spec.late_interaction)]
    chosen = np.random.default_rng()
    queries = [*asked, *await _samples(table, spec, rows, chosen)]
    if spec.late_interaction:
        queries = [_some(query, chosen) for query in queries]
    nearest = await _nearest(table, spec, queries, depths[-1])
    finder = Finder(table, spec)

    async def recall(depth: int, probes: int, past: int = 0) -> float:
        """Of what lies deeper than `past`: what fits a filter may all lie there."""
        reach, shares = Reach(probes, candidates), []
        enough = max(LEAST_QUERIES, MEASURED_HITS // depth) + len(asked)
        for query, ids in islice(zip(queries, nearest, strict=True), enough):
            # Of what is compared exactly, the nearest are found.
            compared = await finder.candidates(query, "", depth, reach)
            shares.append(len(set(compared) & set(ids[past:depth])) / (depth - past))
        return float(np.mean(shares))

    candidates = CANDIDATES
    if spec.late_interaction:
        while await recall(DEPTHS[0], ALL) < TARGET and candidates < MAX_CANDIDATES:
            candidates *= 2
    probes: dict[int, int] = {}
    reached: dict[int, float] = {}
    least = 1
    for past, depth in pairwise([0, *depths]):
        best = await recall(depth, ALL, past)
        while (found := await recall(depth, least, past)) < TARGET * best and least < ALL:
            least = 2 * least if 2 * least < partitions else ALL
        reached[depth] = found
        probes[depth] = least
    return Effort(probes, candidates, reached[DEPTHS[0]], datetime.now(UTC), trained, rows)


async def _samples(table: AsyncTable, spec: CollectionSpec, rows: int, chosen: np.random.Generator) -> list[Vectors]:
    column, count = (VECTORS, LATE_SAMPLES) if spec.late_interaction else (VECTOR, SAMPLES)
    taken = (await sample(table, [column], rows, count)).column(column).drop_null().to_pylist()
    if not spec.late_interaction:
        return [_moved(np.array(vector, np.float32), chosen) for vector in taken]
    return [_moved(unpack([packed], spec)[0], chosen) for packed in taken]


def _some(vectors: Vectors, chosen: np.random.Generator) -> Vectors:
    """A page asks with a thousand, which to compare with every entry takes minutes."""
    return vectors[chosen.choice(len(vectors), min(len(vectors), LATE_VECTORS), replace=False)]


def _moved(vectors: Vectors, chosen: np.random.Generator) -> Vectors:
    noise = chosen.standard_normal(vectors.shape, np.float32) * np.float32(NOISE / np.sqrt(vectors.shape[-1]))
    moved = vectors + noise
    return moved / np.linalg.norm(moved, axis=-1, keepdims=True)


async def _nearest(table: AsyncTable, spec: CollectionSpec, queries: Sequence[Vectors], depth: int) -> list[list[int]]:
    """Of each query the ids of the `depth` nearest rows, nearest first; all rows are read once, a block at a time."""
    late = spec.late_interaction
    ids, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    scan = table.query().where(LIVE).select([VECTORS if late else VECTOR]).with_row_id()
    async for batch in await scan.to_batches(max_batch_length=_LATE_SCAN_ROWS if late else _SCAN_ROWS):
        values, rows = batch.column(0), batch.column("_rowid").to_numpy()
        if late:
            packed = values.to_pylist()
            block = await asyncio.to_thread(lambda: np.stack([maxsim(q, packed, spec) for q in queries]))  # noqa: B023
        else:
            vectors = values.flatten().to_numpy().reshape(-1, spec.dimensions)
            block = await asyncio.to_thread(np.matmul, np.stack(queries), vectors.T.astype(np.float32, copy=False))
        scores = np.concatenate([scores, block], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(rows, block.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return ids.tolist()
