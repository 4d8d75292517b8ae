"""How far a table's index is searched, so that it finds what there is."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from lancedb import AsyncTable

from services.embedder.index.effort import ALL, Effort, Reach, noted, reach_for
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.sampling import sample
from services.embedder.index.schema import VECTOR, searched_column
from services.embedder.models.model import Vectors

FEW = 500
"""So many entries that fit a filter are compared faster one by one than through the index."""
SAMPLE = 1_024
"""Entries kept in memory, to see how deep it is to what was found. Measured on 100,000, a tenth of which fit, those
that are unlike the query, with 24 samples: between 0.994 and 0.995 of the 10 nearest are found."""
_DEVIATIONS = 2
"""Of a number of sampled entries, which is Poisson's, from what it stands for."""
TRUSTED_S = 0.05
"""So long what is known of a table is not asked for again: its index is not changed sooner after it was noted that it
will be."""
MAX_COUNTS = 256
"""Filters of which it is known how many rows fit."""


def at_most(nearer: int, by_chance: float) -> float:
    """How many sampled entries are to be taken for nearer than what was found, where `nearer` were, and `by_chance` are
    where the filter has nothing to do with what an entry is like.

    More than chance gives are deep, and a sample may show fewer than there are: Poisson's spread is added.
    """
    if nearer <= by_chance + _DEVIATIONS * by_chance**0.5 + 1:
        return nearer
    return nearer + _DEVIATIONS * nearer**0.5


@dataclass(frozen=True)
class _Version:
    """What is known of one version of the table."""

    number: int
    effort: Effort | None
    rows: int
    fitting: dict[bytes, int] = field(default_factory=dict)
    """By the filter's SHA-256, how many rows fit."""


class Planner:
    """Methods raise what LanceDB raises."""

    def __init__(self, table: AsyncTable, spec: CollectionSpec) -> None:
        self._table = table
        self._spec = spec
        self._version: _Version | None = None
        self._trusted_until = 0.0
        """By the loop's clock."""
        self._sample: Vectors | None = None
        self._sampled_for: Effort | None = None

    async def reach(self, where: str, limit: int) -> Reach | None:
        """What finds the `limit` nearest that fit; None is past the index.

        The nearest that fit a filter lie as deep as what does not fit is much, where fitting has nothing to do with
        what an entry is like; `wider` sees where it has.
        """
        version = await self._latest()
        if version.effort is None or not where:
            return reach_for(version.effort, limit)
        fitting = await self._fitting(version, where)
        return None if fitting <= FEW else reach_for(version.effort, limit * version.rows / fitting)

    async def wider(
        self, reach: Reach | None, where: str, limit: int, query: Vectors, scores: Sequence[float]
    ) -> Reach | None:
        """What is to be searched instead, where what fits a filter was found too deep for `reach`: cars alone among
        the pictures nearest to a cat. None where it was enough. Of one vector an entry; `scores` best first.
        """
        if not where or reach is None or reach.probes >= ALL:
            return None
        version = self._version  # that `reach` has seen
        depth = float("inf")
        if len(scores) >= limit:
            sampled = await self._sampled(version)
            nearer = np.count_nonzero(np.vecdot(sampled, query) > scores[-1])
            by_chance = limit / await self._fitting(version, where) * len(sampled)
            depth = at_most(nearer, by_chance) / len(sampled) * version.rows
        needed = reach_for(version.effort, depth)
        return needed if needed.probes > reach.probes else None

    async def _latest(self) -> _Version:
        now = asyncio.get_running_loop().time()
        if self._version is not None and now < self._trusted_until:
            return self._version
        number = await self._table.version()
        if self._version is None or self._version.number != number:
            effort = await noted(self._table, searched_column(self._spec))
            self._version = _Version(number, effort, await self._table.count_rows())
        self._trusted_until = now + TRUSTED_S
        return self._version

    async def _fitting(self, version: _Version, where: str) -> int:
        key = hashlib.sha256(where.encode()).digest()
        if key not in version.fitting:
            if len(version.fitting) >= MAX_COUNTS:
                version.fitting.clear()
            version.fitting[key] = await self._table.count_rows(where)
        return version.fitting[key]

    async def _sampled(self, version: _Version) -> Vectors:
        """[SAMPLE or fewer, dimensions]; others when the index has been measured anew."""
        if self._sample is None or self._sampled_for != version.effort:
            taken = await sample(self._table, [VECTOR], version.rows, SAMPLE)
            vectors = taken.column(VECTOR).drop_null().combine_chunks()
            self._sample = vectors.flatten().to_numpy().reshape(-1, self._spec.dimensions).astype(np.float32)
            self._sampled_for = version.effort
        return self._sample
