"""Entries of several vectors: how like they are by all of them, and the few vectors that ask in the first stage."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from lancedb.query import AsyncQueryBase

from services.embedder.index.entries import CollectionSpec
from services.embedder.index.ranking import Found, best
from services.embedder.index.rows import packed_bytes, unpack
from services.embedder.index.schema import VECTORS
from services.embedder.models.model import Vectors
from services.embedder.vectors.pooling import pool

MAX_FIRST_VECTORS = 32
"""Of a query that has more, those of the first stage are pooled: a page that is looked for has a thousand."""

_SCAN_ROWS = 128
"""At once in memory, some 34 MB of pages whose vectors are not pooled."""
_BLOCK_NUMBERS = 2**24
"""That are multiplied at once."""


async def best_by_maxsim(
    rows: AsyncQueryBase, query: Vectors, spec: CollectionSpec, limit: int
) -> tuple[list[Found], int]:
    """Of the rows that a query without vectors selects the best, and how many rows there were; a block of them is in
    memory at a time. Raises what LanceDB raises.
    """
    found: list[Found] = []
    count = 0
    async for batch in await rows.select([VECTORS]).with_row_id().to_batches(max_batch_length=_SCAN_ROWS):
        count += batch.num_rows
        found += await asyncio.to_thread(_best_of, batch, query, spec, limit)
        found = sorted(found, key=lambda each: -each.score)[:limit]
    return found, count


def maxsim(query: Vectors, packed: Sequence[bytes], spec: CollectionSpec) -> np.ndarray:
    """The score of each entry: of every query vector the greatest dot product with the entry's, summed.

    Takes some 100 MiB, however many entries there are and vectors they have.
    """
    if not packed:
        return np.zeros(0, np.float32)
    most = max(map(len, packed)) // packed_bytes(spec)
    at_once = max(1, _BLOCK_NUMBERS // (most * max(len(query), spec.dimensions)))
    return np.concatenate([_maxsim(query, packed[i : i + at_once], spec) for i in range(0, len(packed), at_once)])


def first_vectors(query: Vectors) -> Vectors:
    """At most about MAX_FIRST_VECTORS of length 1; what weighs nothing is left out.

    Vectors are pooled with those of their own length, to as many as these weigh of all: the first stage knows no
    weights, and a picture's thousand patches would leave no place for the words that are asked beside it.
    """
    lengths = np.linalg.norm(query, axis=1)
    weights = np.round(lengths / lengths.max(), 3)
    pooled = []
    for weight in np.unique(weights[weights > 0]):
        alike = weights == weight
        places = max(1, round(MAX_FIRST_VECTORS * lengths[alike].sum() / lengths.sum()))
        pooled.append(pool(query[alike] / lengths[alike, None], -(-int(alike.sum()) // places)))
    return np.concatenate(pooled)


def _best_of(batch: pa.RecordBatch, query: Vectors, spec: CollectionSpec, limit: int) -> list[Found]:
    scores = maxsim(query, batch.column(VECTORS).to_pylist(), spec)
    return best(batch.column("_rowid").to_numpy(), scores, limit)


def _maxsim(query: Vectors, packed: Sequence[bytes], spec: CollectionSpec) -> np.ndarray:
    vectors, begins = unpack(packed, spec)
    return np.maximum.reduceat(vectors @ query.T, begins, axis=0).sum(axis=1)
