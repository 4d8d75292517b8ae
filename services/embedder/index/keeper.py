"""What collections need beside reading and writing: indices, compaction, clean-up."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from weakref import WeakKeyDictionary

from lancedb import AsyncConnection, AsyncTable
from lancedb.index import IvfFlat, IvfRq

from services.embedder.index.collection import Collection
from services.embedder.index.column_indices import index_columns, suit_fields
from services.embedder.index.effort import note, noted
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.failures import STORAGE_ERRORS, first_line, is_conflict
from services.embedder.index.leases import Leases
from services.embedder.index.measuring import TARGET, measure
from services.embedder.index.observation import maintenance_failed, observed
from services.embedder.index.schema import COARSE, LIVE, searched_column
from services.embedder.index.settings import IndexSettings
from services.embedder.index.upkeep import compact, prune
from services.runtime.errors import ChiasmError, NotFound

logger = logging.getLogger(__name__)

WORK_TIMEOUT_S = 3_600.0
LEASE_S = 120.0
"""So long after a replica has died another begins; two at once is waste, not harm."""
MAX_BACKOFF = 64
GROWTH = 8
"""While a collection is being written, its indices follow each time it has grown by a GROWTH-th: each compaction writes
all of it anew. When the writing pauses they follow at once."""
RETRAINED, RETRAINED_QUIET = 2.0, 1.2
"""A vector index is trained anew when the collection has grown so many times since, or so many and the writing pauses:
what is put into an index that was trained on less is found less well."""
SEGMENTS, SEGMENTS_QUIET = 8, 2
"""The most parts of a vector index, and the most when the writing pauses. Every following adds one, and each is
searched: of 50,000 vectors one takes 3.2 ms, two 3.7, four 6.6, nine 9.4. Training anew leaves one."""
RESTS = 4
"""How many times as long as it took, what a pause of the writing allowed is not done again: a collection that gets a
document now and then would be maintained without end."""
MAX_FRAGMENTS = 64
"""Files beyond this are put together however little is in them."""
LOW_RECALL = 0.95
MEASURED_ENTRIES = 10
"""Of fewer there are no 10 nearest to measure with; all of the index is searched."""
BITS = 5
"""A number, in the vector index (RaBitQ). Measured on 100,000 vectors of 768 dimensions, clustered and uniformly
random, with filters and without: 5 bits find 0.993 and more of the 10 nearest, 3 bits 0.86, 1 bit 0.16. On 2 cores it
is built in 20 s, where a graph (HNSW) takes many minutes."""

PARTITION_VECTORS = 4_096
"""Of the vector index, about; LanceDB's own measure. When new vectors come it dissolves partitions of less than a
quarter and puts them into the others: of 100,000 clustered ones in partitions of 1,600, to which 2,500 were added, the
nearest partition had 0.85 of the 10 nearest, where before it had 0.998. https://github.com/lance-format/lance/pull/4837"""
_SAMPLED_ROWS = 64


@dataclass
class _Seen:
    """What the looks at a collection have shown."""

    looked: int = 0
    """The version that the last look saw."""
    settled: int = 0
    """The version that needs nothing."""
    rested_at: float = 0.0
    """Before this it is not maintained because the writing pauses, by the loop's clock."""
    clean_at: float = float("inf")
    """When its older versions are old enough to go, by the loop's clock."""


class Keeper:
    """Maintains tables one at a time, and each in one of all replicas at a time."""

    def __init__(self, connection: AsyncConnection, leases: Leases, settings: IndexSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._leases = leases
        self._seen: WeakKeyDictionary[Collection, _Seen] = WeakKeyDictionary()
        self._failed = 0

    async def pause(self) -> None:
        """Until the next look; longer, the more have failed one after the other."""
        backoff = min(2**self._failed, MAX_BACKOFF)
        await asyncio.sleep(self._settings.index_maintenance_s * random.uniform(0.5, 1.5) * backoff)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Around a part of a look: what it fails with is logged and counted, and the next look comes later. `what` says
        what was not done."""
        try:
            yield
        except Exception as error:  # the service does not end with it
            if is_conflict(error):  # the writers were faster, and are not held up for this
                logger.info("maintenance gave way to writers: %s", what)
                return
            self._failed += 1
            maintenance_failed()
            foreseen = isinstance(error, (*STORAGE_ERRORS, ChiasmError))
            logger.warning("%s: %s", what, first_line(error), exc_info=not foreseen)

    async def keep(self, name: str, opened: Callable[[], Awaitable[Collection]]) -> None:
        """Does for a collection what it needs now, if anything; `name` is for the log."""
        with self.attempt(f"{name} was not maintained"):
            async with asyncio.timeout(WORK_TIMEOUT_S):
                with suppress(NotFound):  # it has gone meanwhile
                    await self._look(await opened())
            self._failed = 0

    async def _look(self, collection: Collection) -> None:
        table, spec, loop = collection.table, collection.spec, asyncio.get_running_loop()
        seen = self._seen.setdefault(collection, _Seen())
        version = await table.version()
        quiet = seen.looked == version and loop.time() >= seen.rested_at
        seen.looked = version
        clean = loop.time() >= seen.clean_at
        if seen.settled == version and not clean:
            return
        rows = await table.count_rows()
        behind = await _behind(table)
        fragments = (await table.stats())["fragment_stats"]["num_small_fragments"]
        grown = behind >= max(self._settings.index_min_entries, rows) / GROWTH or fragments >= MAX_FRAGMENTS
        untrained = await self._untrained(table, spec, rows, quiet=quiet)
        unmeasured = await self._unmeasured(table, spec, rows)
        if not (clean or grown or untrained or (quiet and (behind or fragments > 1 or unmeasured))):
            if quiet:
                seen.settled = version
            return
        async with self._leases.held(f"maintain {table.name}", LEASE_S) as mine:
            if not mine:
                return
            began = loop.time()
            with observed("maintain", rows=rows, behind=behind):
                if behind or untrained:
                    await self._forget_probes(table, spec)
                await self._tidy(table, spec)
                untrained = await self._untrained(table, spec, rows, quiet=quiet)  # in one part more
                if untrained:
                    await self._train(table, spec)
                if untrained or await self._unmeasured(table, spec, rows):
                    await self._measure(collection, trained=rows if untrained else None)
        if quiet:
            seen.rested_at = loop.time() + RESTS * (loop.time() - began)
        seen.clean_at = float("inf") if clean else loop.time() + self._settings.index_keep_versions_s
        version = await table.version()  # with what was written meanwhile
        untrained = await self._untrained(table, spec, await table.count_rows(), quiet=True)
        if not untrained and not await _behind(table):
            seen.settled = version

    async def _untrained(self, table: AsyncTable, spec: CollectionSpec, rows: int, *, quiet: bool) -> bool:
        """Whether there is enough for a vector index and none, or so much more than when it was trained, or it is in
        too many parts."""
        if rows < self._settings.index_min_entries:
            return False
        growth, most = (RETRAINED_QUIET, SEGMENTS_QUIET) if quiet else (RETRAINED, SEGMENTS)
        column = searched_column(spec)
        effort = await noted(table, column)
        parts = await segments(table, column)
        return parts is None or effort is None or rows >= growth * effort.trained or parts > most

    async def _unmeasured(self, table: AsyncTable, spec: CollectionSpec, rows: int) -> bool:
        """Whether there is an index of which it is not known how much must be searched, because it was changed here or
        by a replica that has died since, and enough entries to measure that."""
        effort = await noted(table, searched_column(spec))
        return effort is not None and not effort.probes and rows >= MEASURED_ENTRIES

    async def _forget_probes(self, table: AsyncTable, spec: CollectionSpec) -> None:
        """What goes into an index can change its partitions: until that is measured, all of it is searched."""
        column = searched_column(spec)
        effort = await noted(table, column)
        if effort is not None:
            await note(replace(effort, probes={}), table, column)

    async def _tidy(self, table: AsyncTable, spec: CollectionSpec) -> None:
        """Puts small files together, brings the indices up to date, and removes what no reader has any more."""
        await index_columns(table, spec)
        if await table.count_rows(f"NOT ({LIVE})"):
            await table.delete(f"NOT ({LIVE})")
        await compact(table)
        await prune(table, timedelta(seconds=self._settings.index_keep_versions_s))

    async def _train(self, table: AsyncTable, spec: CollectionSpec) -> None:
        await suit_fields(table, spec)
        kind = {
            "distance_type": "cosine" if spec.late_interaction else "dot",
            "num_partitions": await partitions(table, spec),
        }
        # RaBitQ turns vectors eight numbers at a time.
        config = IvfFlat(**kind) if spec.dimensions % 8 else IvfRq(**kind, num_bits=BITS)
        await table.create_index(searched_column(spec), config=config)

    async def _measure(self, collection: Collection, *, trained: int | None) -> None:
        """`trained` is on how many entries the index was just trained; None where it has only grown."""
        table, spec = collection.table, collection.spec
        column = searched_column(spec)
        if trained is None:
            trained = (await noted(table, column)).trained
        still = await self._connection.open_table(table.name)
        await still.checkout(await still.version())
        effort = await measure(still, spec, collection.asked, partitions=await partitions(still, spec), trained=trained)
        if effort.recall < TARGET:
            level = logging.WARNING if effort.recall < LOW_RECALL else logging.INFO
            logger.log(level, "the index finds a share of %.3f", effort.recall, extra={"table": table.name})
        await note(effort, table, column)


async def _behind(table: AsyncTable) -> int:
    """Rows that an index does not have yet."""
    return max((each.num_unindexed_rows or 0 for each in await table.list_indices()), default=0)


async def segments(table: AsyncTable, column: str) -> int | None:
    """Parts that a column's index is in; None where it has none."""
    return next((each.num_segments for each in await table.list_indices() if each.columns == [column]), None)


async def partitions(table: AsyncTable, spec: CollectionSpec) -> int:
    """For so many vectors as the column has."""
    vectors = await table.count_rows()
    if spec.late_interaction:
        sampled = (await table.query().select([COARSE]).limit(_SAMPLED_ROWS).to_arrow()).column(COARSE)
        vectors = vectors * sum(map(len, sampled)) // max(1, len(sampled))  # all may have been removed meanwhile
    return max(1, round(vectors / PARTITION_VECTORS))
