"""Search in one table: by meaning, by words, by both."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
from lancedb import AsyncTable
from lancedb.query import AsyncQuery, AsyncVectorQuery, MatchQuery

from services.embedder.index.effort import Reach
from services.embedder.index.entries import CollectionSpec, Hit, Query
from services.embedder.index.filters import to_sql
from services.embedder.index.late_interaction import best_by_maxsim, first_vectors
from services.embedder.index.observation import observed
from services.embedder.index.planning import Planner
from services.embedder.index.ranking import Found, fused
from services.embedder.index.rows import FACTS, hit_of, vectors_of
from services.embedder.index.schema import COARSE, LIVE, VECTOR
from services.embedder.models.model import Vectors
from services.runtime.errors import InvalidArgument
from services.runtime.together import together

CANDIDATES_A_HIT = 4
"""At least so many a hit are compared by all their vectors."""
FUSED, FUSED_A_HIT, MAX_FUSED = 100, 4, 1_000
"""At least, a hit, and at most beside the hits: how deep the lists are that are fused."""
REFINE = 3
"""How many times as many as are asked for are compared by their exact vectors. LanceDB does that too, by a second look
at the storage."""

ASKED = 8
"""Of the queries by meaning the latest, kept to measure the index with."""

_RETAKES = 5
_MANY_BYTES = 2**17
"""Of hits that are made in a thread."""

T = TypeVar("T")


class _Moved(Exception):
    """Rows have new ids: a compaction has come between."""


class Finder:
    """Searches one table. Its methods raise what LanceDB raises."""

    def __init__(self, table: AsyncTable, spec: CollectionSpec) -> None:
        self._table = table
        self._spec = spec
        self._planner = Planner(table, spec)
        self.asked: deque[Vectors] = deque(maxlen=ASKED)

    async def find(self, query: Query) -> list[Hit]:
        """Best first. Raises InvalidArgument naming the part of the query at fault."""
        where = to_sql(query.filter or (), self._spec.fields)
        if query.vectors is not None:
            self._check(query.vectors)
            self.asked.append(query.vectors)
        if query.words is None and not query.with_picture and not self._spec.late_interaction:
            return await self._nearest_hits(query, where)
        for _ in range(_RETAKES):
            try:
                return await self._taken(await self._found(query, where), query)
            except _Moved:
                continue
        raise RuntimeError("the table is compacted faster than it is read")

    async def candidates(self, vectors: Vectors, where: str, limit: int, reach: Reach) -> list[int]:
        """The rows that are compared exactly, to find the `limit` nearest."""
        late = self._spec.late_interaction
        few = await asyncio.to_thread(first_vectors, vectors) if late else vectors
        nearest = self._nearest(few, where, self._compared_for(limit, reach), reach)
        return (await nearest.select(["_distance"]).with_row_id().to_arrow()).column("_rowid").to_pylist()

    async def _found(self, query: Query, where: str) -> list[Found]:
        if query.words is None:
            return await self._by_meaning(query.vectors, where, query.limit, exact=query.exact)
        if query.vectors is None:
            return await self._by_words(query.words, where, query.limit)
        depth = max(FUSED, min(FUSED_A_HIT * query.limit, MAX_FUSED), query.limit)
        meaning, words = await together(
            self._by_meaning(query.vectors, where, depth, exact=query.exact), self._by_words(query.words, where, depth)
        )
        return fused(meaning, words)[: query.limit]

    async def _by_meaning(self, vectors: Vectors, where: str, limit: int, *, exact: bool) -> list[Found]:
        if not self._spec.late_interaction:
            rows, scores = await self._nearest_rows(vectors, where, limit, exact=exact)
            return [Found(row["_rowid"], score) for row, score in zip(rows, scores, strict=True)]
        reach = None if exact else await self._planner.reach(where, limit)
        if reach is None:
            found, _ = await best_by_maxsim(
                self._table.query().where(f"{LIVE} AND {where}" if where else LIVE), vectors, self._spec, limit
            )
            return found
        with observed("search.first"):
            rows = await self.candidates(vectors, where, limit, reach)
        with observed("search.rerank", candidates=len(rows)):
            found, count = await best_by_maxsim(self._table.take_row_ids(rows), vectors, self._spec, limit)
            if count < len(rows):
                raise _Moved
        return found

    async def _nearest_hits(self, query: Query, where: str) -> list[Hit]:
        """One vector an entry: what hits are made of comes with the same query."""
        rows, scores = await self._nearest_rows(query.vectors, where, query.limit, exact=query.exact)
        return await _made(sum(len(row[FACTS]) for row in rows), lambda: self._hits(rows, scores))

    async def _nearest_rows(
        self, vectors: Vectors, where: str, limit: int, *, exact: bool
    ) -> tuple[list[dict[str, object]], list[float]]:
        """Best first, with FACTS and `_rowid`; and their scores."""
        reach = None if exact else await self._planner.reach(where, limit)
        while True:
            nearest = self._nearest(vectors, where, self._compared_for(limit, reach), reach)
            table = await nearest.select([FACTS, "_distance"]).with_row_id().to_arrow()
            rows, scores = await _made(table.nbytes, lambda: self._compared(table, vectors, limit))  # noqa: B023
            wider = None if exact else await self._planner.wider(reach, where, limit, vectors, scores)
            if wider is None:
                return rows, scores
            reach = wider

    def _compared_for(self, limit: int, reach: Reach | None) -> int:
        """How many are compared exactly, to find the `limit` nearest."""
        if reach is None:
            return limit
        return max(reach.candidates, CANDIDATES_A_HIT * limit) if self._spec.late_interaction else REFINE * limit

    def _compared(self, table: pa.Table, query: Vectors, limit: int) -> tuple[list[dict[str, object]], list[float]]:
        """The best by their exact vectors, best first, and their scores."""
        facts, ids = (table.column(name).to_pylist() for name in (FACTS, "_rowid"))
        # A matrix's product would leave another thread of numpy's spinning, on a core that LanceDB needs.
        scores = np.vecdot(vectors_of(facts, self._spec), query)
        order = np.argsort(-scores, kind="stable")[:limit].tolist()
        return [{FACTS: facts[i], "_rowid": ids[i]} for i in order], scores[order].tolist()

    def _nearest(self, vectors: Vectors, where: str, limit: int, reach: Reach | None) -> AsyncVectorQuery:
        """Past the index where `reach` is None."""
        late = self._spec.late_interaction
        nearest = self._query().nearest_to(list(vectors) if late else vectors).column(COARSE if late else VECTOR)
        # Of several vectors LanceDB compares cosines alone, which here are dot products: all are of length 1.
        nearest = nearest.distance_type("cosine" if late else "dot").limit(limit)
        if where:
            nearest = nearest.where(where)
        if reach is None:
            return nearest.bypass_vector_index()
        return nearest.nprobes(reach.probes)

    def _query(self) -> AsyncQuery:
        """As the table's own, which looks for columns of blobs before each search, through the whole schema: there are
        none, and it takes a tenth of a search."""
        return AsyncQuery(self._table._inner.query())

    async def _by_words(self, words: str, where: str, limit: int) -> list[Found]:
        with observed("search.words"):
            # A MatchQuery's words are words: nothing in them is syntax.
            matching = self._table.query().nearest_to_text(MatchQuery(words, "text")).limit(limit)
            if where:
                matching = matching.where(where)
            table = await matching.select(["_score"]).with_row_id().to_arrow()
        pairs = zip(table.column("_rowid").to_pylist(), table.column("_score").to_pylist(), strict=True)
        return [Found(row, score) for row, score in pairs]

    async def _taken(self, found: Sequence[Found], query: Query) -> list[Hit]:
        """The hits of rows. Raises _Moved."""
        if not found:
            return []
        ids = [each.row for each in found]
        table = await self._table.take_row_ids(ids).select(_columns(query)).with_row_id().to_arrow()
        if table.num_rows < len(found):
            raise _Moved
        return await _made(table.nbytes, lambda: self._in_order(table, found))

    def _in_order(self, table: pa.Table, found: Sequence[Found]) -> list[Hit]:
        rows = {row["_rowid"]: row for row in table.to_pylist()}
        return self._hits([rows[each.row] for each in found], [each.score for each in found])

    def _hits(self, rows: Sequence[dict[str, object]], scores: Sequence[float]) -> list[Hit]:
        return [hit_of(row, score, self._spec) for row, score in zip(rows, scores, strict=True)]

    def _check(self, vectors: Vectors) -> None:
        shape = (len(vectors), self._spec.dimensions) if self._spec.late_interaction else (self._spec.dimensions,)
        if vectors.shape != shape or not vectors.size or not np.isfinite(vectors).all():
            raise InvalidArgument(
                f"vectors of shape {list(vectors.shape)} in a collection of {self._spec.dimensions} dimensions",
                field="vectors",
            )


async def _made(size: int, make: Callable[[], T]) -> T:
    """Of so many bytes; in a thread, where that is much: the loop has others to serve."""
    return await asyncio.to_thread(make) if size > _MANY_BYTES else make()


def _columns(query: Query) -> list[str]:
    return [FACTS, "picture"] if query.with_picture else [FACTS]
