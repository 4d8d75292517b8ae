"""Search in one table: by meaning, by words, by both."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lancedb import AsyncTable
from lancedb.query import AsyncVectorQuery, MatchQuery

from services.embedder.index.effort import Effort, Reach, reach_for
from services.embedder.index.entries import CollectionSpec, Hit, Query
from services.embedder.index.filters import to_sql
from services.embedder.index.observation import observed
from services.embedder.index.rows import FACTS, hit_of, pack, unpack
from services.embedder.index.schema import COARSE, LIVE, VECTOR, VECTORS, searched_column
from services.embedder.models.model import Vectors
from services.embedder.vectors.pooling import pool
from services.runtime.errors import InvalidArgument

CANDIDATES_A_HIT = 10
"""At least so many a hit are compared by all their vectors."""
MAX_FIRST_VECTORS = 32
"""Of a query that has more, those of the first stage are pooled: a page that is looked for has a thousand."""
FUSED, FUSED_A_HIT = 100, 4
"""At least, and a hit: how deep the lists are that are fused."""
RRF_RANK = 60
"""https://doi.org/10.1145/1571941.1572114"""
REFINE = 3
"""How many times as many as are asked for are compared by their exact vectors."""
FEW = 500
"""So many entries that fit a filter are compared faster one by one than through the index."""

ASKED = 8
"""Of the queries by meaning the latest, kept to measure the index with."""

MAX_COUNTS = 256
"""Filters of which it is known how many rows fit."""

_SCAN_ROWS = 512
_BLOCK_NUMBERS = 2**24
"""That are multiplied at once."""
_RETAKES = 3


@dataclass(frozen=True)
class _Found:
    """A row's id, which is its own until the table is compacted, and how like the query it is."""

    row: int
    score: float


class Finder:
    """Searches one table. Its methods raise what LanceDB raises."""

    def __init__(self, table: AsyncTable, spec: CollectionSpec) -> None:
        self._table = table
        self._spec = spec
        self.asked: deque[Vectors] = deque(maxlen=ASKED)
        self._counts: dict[str, int] = {}
        self._counted_at = 0

    async def find(self, query: Query) -> list[Hit]:
        """Best first. Raises InvalidArgument naming the part of the query at fault."""
        where = to_sql(query.filter or (), self._spec.fields)
        if query.vectors is not None:
            self._check(query.vectors)
            self.asked.append(query.vectors)
        if query.words is None and not self._spec.late_interaction:
            return await self._nearest_hits(query, where)
        for _ in range(_RETAKES):
            hits = await self._taken(await self._found(query, where), query)
            if hits is not None:
                return hits
        raise RuntimeError("the table is compacted faster than it is read")

    async def _found(self, query: Query, where: str) -> list[_Found]:
        if query.words is None:
            return await self.by_meaning(query.vectors, where, query.limit, exact=query.exact)
        if query.vectors is None:
            return await self._by_words(query.words, where, query.limit)
        depth = max(FUSED, FUSED_A_HIT * query.limit)
        meaning, words = await asyncio.gather(
            self.by_meaning(query.vectors, where, depth, exact=query.exact), self._by_words(query.words, where, depth)
        )
        return _fused(meaning, words)[: query.limit]

    async def by_meaning(
        self, vectors: Vectors, where: str, limit: int, *, exact: bool, reach: Reach | None = None
    ) -> list[_Found]:
        """As far as `reach`, or as was measured to be needed."""
        if reach is None and not exact:
            exact, reach = await self._plan(where, limit)
        if not self._spec.late_interaction:
            nearest = self._nearest(vectors, where, limit, None if exact else reach)
            table = await nearest.select(["_distance"]).with_row_id().to_arrow()
            return [
                _Found(row, 1 - distance)
                for row, distance in zip(
                    table.column("_rowid").to_pylist(), table.column("_distance").to_pylist(), strict=True
                )
            ]
        if exact:
            return await self._scanned(vectors, where, limit)
        candidates = max(reach.candidates, CANDIDATES_A_HIT * limit)
        with observed("search.first"):
            first = self._nearest(_fewer(vectors), where, candidates, reach)
            rows = (await first.select(["_distance"]).with_row_id().to_arrow()).column("_rowid").to_pylist()
        with observed("search.rerank", candidates=len(rows)):
            table = await self._table.take_row_ids(rows).select([VECTORS]).with_row_id().to_arrow()
            packed, rows = table.column(VECTORS).to_pylist(), table.column("_rowid").to_pylist()
            scores = await asyncio.to_thread(maxsim, vectors, packed, self._spec)
        return _best(rows, scores, limit)

    async def _nearest_hits(self, query: Query, where: str) -> list[Hit]:
        """One vector an entry: what hits are made of comes with the same query."""
        exact, reach = (True, None) if query.exact else await self._plan(where, query.limit)
        nearest = self._nearest(query.vectors, where, query.limit, None if exact else reach)
        table = await nearest.select([*_columns(query), "_distance"]).to_arrow()
        return [hit_of(row, 1 - row["_distance"], self._spec) for row in table.to_pylist()]

    def _nearest(self, vectors: Vectors, where: str, limit: int, reach: Reach | None) -> AsyncVectorQuery:
        """Past the index where `reach` is None."""
        late = self._spec.late_interaction
        nearest = self._table.query().nearest_to(list(vectors) if late else vectors).column(COARSE if late else VECTOR)
        # Of several vectors LanceDB compares cosines alone, which here are dot products: all are of length 1.
        nearest = nearest.distance_type("cosine" if late else "dot").limit(limit)
        if where:
            nearest = nearest.where(where)
        if reach is None:
            return nearest.bypass_vector_index()
        # The first stage's candidates are compared exactly anyway.
        return nearest.nprobes(reach.probes) if late else nearest.nprobes(reach.probes).refine_factor(REFINE)

    async def _plan(self, where: str, limit: int) -> tuple[bool, Reach]:
        """Whether to pass by the index, and how far to search it otherwise. The nearest that fit a filter lie as deep
        as what does not fit is much."""
        effort = Effort.of(await self._table.schema(), searched_column(self._spec))
        if effort is None or not where:
            return False, reach_for(effort, limit)
        fitting, rows = await self._fitting(where)
        return fitting <= FEW, reach_for(effort, limit * rows / max(fitting, 1))

    async def _fitting(self, where: str) -> tuple[int, int]:
        """How many rows fit, and how many there are; kept while the table stays as it is."""
        version = await self._table.version()
        if version != self._counted_at or len(self._counts) >= MAX_COUNTS:
            self._counted_at, self._counts = version, {}
        if where not in self._counts:
            self._counts[where] = await self._table.count_rows(where)
        return self._counts[where], await self._table.count_rows()

    async def _by_words(self, words: str, where: str, limit: int) -> list[_Found]:
        with observed("search.words"):
            # A MatchQuery's words are words: nothing in them is syntax.
            matching = self._table.query().nearest_to_text(MatchQuery(words, "text")).limit(limit)
            if where:
                matching = matching.where(where)
            table = await matching.select(["_score"]).with_row_id().to_arrow()
        pairs = zip(table.column("_rowid").to_pylist(), table.column("_score").to_pylist(), strict=True)
        return [_Found(row, score) for row, score in pairs]

    async def _scanned(self, vectors: Vectors, where: str, limit: int) -> list[_Found]:
        """Exact MaxSim with every entry, a block of rows in memory at a time."""
        scan = self._table.query().where(f"{LIVE} AND {where}" if where else LIVE)
        best: list[_Found] = []
        async for batch in await scan.select([VECTORS]).with_row_id().to_batches(max_batch_length=_SCAN_ROWS):
            packed, rows = batch.column(VECTORS).to_pylist(), batch.column("_rowid").to_pylist()
            scores = await asyncio.to_thread(maxsim, vectors, packed, self._spec)
            best = sorted(best + _best(rows, scores, limit), key=lambda found: -found.score)[:limit]
        return best

    async def _taken(self, found: Sequence[_Found], query: Query) -> list[Hit] | None:
        """The hits of rows; None where a compaction has come between."""
        if not found:
            return []
        table = (
            await self._table.take_row_ids([each.row for each in found])
            .select(_columns(query))
            .with_row_id()
            .to_arrow()
        )
        rows = {row["_rowid"]: row for row in table.to_pylist()}
        if len(rows) < len(found):
            return None
        return [hit_of(rows[each.row], each.score, self._spec) for each in found]

    def _check(self, vectors: Vectors) -> None:
        shape = (len(vectors), self._spec.dimensions) if self._spec.late_interaction else (self._spec.dimensions,)
        if vectors.shape != shape or not vectors.size or not np.isfinite(vectors).all():
            raise InvalidArgument(
                f"vectors of shape {list(vectors.shape)} in a collection of {self._spec.dimensions} dimensions",
                field="vectors",
            )


def maxsim(query: Vectors, packed: Sequence[bytes], spec: CollectionSpec) -> np.ndarray:
    """The score of each entry: of every query vector the greatest dot product with the entry's, summed.

    Takes some 100 MiB, however many entries there are and vectors they have.
    """
    if not packed:
        return np.zeros(0, np.float32)
    vector_bytes = len(pack(np.ones((1, spec.dimensions), np.float32), spec.precision))
    most = max(map(len, packed)) // vector_bytes
    at_once = max(1, _BLOCK_NUMBERS // (most * max(len(query), spec.dimensions)))
    return np.concatenate([_maxsim(query, packed[i : i + at_once], spec) for i in range(0, len(packed), at_once)])


def _maxsim(query: Vectors, packed: Sequence[bytes], spec: CollectionSpec) -> np.ndarray:
    vectors, begins = unpack(packed, spec)
    return np.maximum.reduceat(vectors @ query.T, begins, axis=0).sum(axis=1)


def _fewer(vectors: Vectors) -> Vectors:
    """At most MAX_FIRST_VECTORS, each of length 1; without those that weigh nothing."""
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors[lengths > 0] / lengths[lengths > 0, None]
    return pool(unit, -(-len(unit) // MAX_FIRST_VECTORS))


def _best(rows: Sequence[int], scores: np.ndarray, limit: int) -> list[_Found]:
    order = np.argsort(-scores, kind="stable")[:limit]
    return [_Found(rows[i], float(scores[i])) for i in order]


def _fused(*lists: Sequence[_Found]) -> list[_Found]:
    scores: dict[int, float] = {}
    for found in lists:
        for rank, each in enumerate(found, start=1):
            scores[each.row] = scores.get(each.row, 0.0) + 1 / (RRF_RANK + rank)
    return [_Found(row, score) for row, score in sorted(scores.items(), key=lambda pair: -pair[1])]


def _columns(query: Query) -> list[str]:
    return [FACTS, "picture"] if query.with_picture else [FACTS]
