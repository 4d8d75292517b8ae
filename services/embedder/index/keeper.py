"""What collections need beside reading and writing: indices, compaction, clean-up."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from math import sqrt

from lancedb import AsyncConnection, AsyncTable
from lancedb.index import FTS, Bitmap, BTree, IvfFlat, IvfRq

from services.embedder.index.collection import Collection
from services.embedder.index.effort import METADATA_KEY, Effort
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.failures import STORAGE_ERRORS, first_line, is_conflict
from services.embedder.index.fields import FieldType
from services.embedder.index.leases import Leases
from services.embedder.index.measuring import TARGET, measure
from services.embedder.index.observation import maintenance_failed, observed
from services.embedder.index.schema import COARSE, LIVE, searched_column
from services.embedder.index.settings import IndexSettings
from services.runtime.errors import ChiasmError

logger = logging.getLogger(__name__)

WORK_TIMEOUT_S = 3_600.0
LEASE_S = 600.0
"""After so long another replica may begin: two at once is waste, not harm."""
MAX_BACKOFF = 64
GROWTH = 8
"""While a collection is being written, its indices follow each time it has grown by a GROWTH-th: each compaction writes
all of it anew. When the writing pauses they follow at once."""
RETRAINED, RETRAINED_QUIET = 2.0, 1.2
"""A vector index is trained anew when the collection has grown so many times since, or so many and the writing pauses:
what is put into an index that was trained on less is found less well."""
MAX_FRAGMENTS = 64
"""Files beyond this are put together however little is in them."""
LOW_RECALL = 0.95
BITS = 5
"""A number, in the vector index (RaBitQ). Measured on 100,000 vectors of 768 dimensions, clustered and uniformly
random, with filters and without: 5 bits find 0.993 and more of the 10 nearest, 3 bits 0.86, 1 bit 0.16. On 2 cores it
is built in 20 s, where a graph (HNSW) takes many minutes."""

_PARTITIONS_OF_ROOT = 5
_SAMPLED_ROWS = 64


class Keeper:
    """Maintains tables one at a time, and each in one of all replicas at a time."""

    def __init__(self, connection: AsyncConnection, leases: Leases, settings: IndexSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._leases = leases
        self._looked: dict[str, int] = {}
        """By table, the version that the last look saw."""
        self._settled: dict[str, int] = {}
        """By table, the version that needs nothing."""
        self._clean_at: dict[str, float] = {}
        """By table, when its older versions are old enough to go."""
        self._failed = 0

    async def index_columns(self, table: AsyncTable, spec: CollectionSpec) -> None:
        """The indices of all but vectors; those that are there stay. Raises what LanceDB raises."""
        there = {each.columns[0] for each in await table.list_indices()}
        # Words are told apart in any language; stop words are kept, for names are made of them.
        wanted = {"document_id": BTree(), "text": FTS(base_tokenizer="icu", remove_stop_words=False)} | {
            field.column: Bitmap() if field.type is FieldType.BOOLEAN else BTree() for field in spec.fields
        }
        for column, config in wanted.items():
            if column not in there:
                await table.create_index(column, config=config)

    async def pause(self) -> None:
        """Until the next look; longer, the more have failed one after the other."""
        backoff = min(2**self._failed, MAX_BACKOFF)
        await asyncio.sleep(self._settings.index_maintenance_s * random.uniform(0.5, 1.5) * backoff)

    async def keep(self, name: str, opened: Callable[[], Awaitable[Collection]]) -> None:
        """Does for a table what it needs now, if anything. What it fails with is logged and counted."""
        try:
            async with asyncio.timeout(WORK_TIMEOUT_S):
                await self._look(name, await opened())
        except (*STORAGE_ERRORS, ChiasmError, TimeoutError) as error:
            if is_conflict(error):  # the writers were faster, and are not held up for this
                logger.info("maintenance gave way to writers", extra={"table": name})
            else:
                self.failed(f"{name} was not maintained", error)
        else:
            self._failed = 0

    def failed(self, what: str, error: Exception) -> None:
        self._failed += 1
        maintenance_failed()
        logger.warning("%s: %s", what, first_line(error))

    async def _look(self, name: str, collection: Collection) -> None:
        table, spec, loop = collection.table, collection.spec, asyncio.get_running_loop()
        version = await table.version()
        quiet = self._looked.get(name) == version
        self._looked[name] = version
        clean = loop.time() >= self._clean_at.get(name, float("inf"))
        if self._settled.get(name) == version and not clean:
            return
        rows = await table.count_rows()
        behind = await _behind(table)
        fragments = (await table.stats())["fragment_stats"]["num_small_fragments"]
        grown = behind >= max(self._settings.index_min_entries, rows) / GROWTH or fragments >= MAX_FRAGMENTS
        untrained = await self._untrained(table, spec, rows, RETRAINED_QUIET if quiet else RETRAINED)
        if not (clean or grown or untrained or (quiet and (behind or fragments > 1))):
            if quiet:
                self._settled[name] = version
            return
        async with self._leases.held(f"maintain {name}", LEASE_S) as mine:
            if not mine:
                return
            with observed("maintain", rows=rows, behind=behind):
                if behind or untrained:
                    await self._forget_probes(table, spec)
                await self._tidy(table, spec)
                if untrained:
                    await self._train(table, spec)
                if untrained or await self._unmeasured(table, spec):
                    await self._measure(name, collection, trained=rows if untrained else None)
        self._clean_at.pop(name, None)
        if not clean:
            self._clean_at[name] = loop.time() + self._settings.index_keep_versions_s
        if not await _behind(table):
            self._settled[name] = await table.version()

    async def _untrained(self, table: AsyncTable, spec: CollectionSpec, rows: int, growth: float) -> bool:
        """Whether there is enough for a vector index and none, or `growth` times as much as when it was trained."""
        if rows < self._settings.index_min_entries:
            return False
        column = searched_column(spec)
        effort = Effort.of(await table.schema(), column)
        has_index = any(each.columns == [column] for each in await table.list_indices())
        return not has_index or effort is None or rows >= growth * effort.trained

    async def _unmeasured(self, table: AsyncTable, spec: CollectionSpec) -> bool:
        effort = Effort.of(await table.schema(), searched_column(spec))
        return effort is not None and not effort.probes

    async def _forget_probes(self, table: AsyncTable, spec: CollectionSpec) -> None:
        """What goes into an index can change its partitions: until that is measured, all of it is searched."""
        column = searched_column(spec)
        effort = Effort.of(await table.schema(), column)
        if effort is not None:
            await _note(table, column, replace(effort, probes={}))

    async def _tidy(self, table: AsyncTable, spec: CollectionSpec) -> None:
        """Puts small files together, brings the indices up to date, and removes what no reader has any more."""
        await self.index_columns(table, spec)
        if await table.count_rows(f"NOT ({LIVE})"):
            await table.delete(f"NOT ({LIVE})")
        await table.optimize(cleanup_older_than=timedelta(seconds=self._settings.index_keep_versions_s))

    async def _train(self, table: AsyncTable, spec: CollectionSpec) -> None:
        kind = {
            "distance_type": "cosine" if spec.late_interaction else "dot",
            "num_partitions": await _partitions(table, spec),
        }
        # RaBitQ turns vectors eight numbers at a time.
        config = IvfFlat(**kind) if spec.dimensions % 8 else IvfRq(**kind, num_bits=BITS)
        await table.create_index(searched_column(spec), config=config)

    async def _measure(self, name: str, collection: Collection, *, trained: int | None) -> None:
        """`trained` is on how many entries the index was just trained; None where it has only grown."""
        table, spec = collection.table, collection.spec
        column = searched_column(spec)
        if trained is None:
            trained = Effort.of(await table.schema(), column).trained
        still = await self._connection.open_table(name)
        await still.checkout(await still.version())
        partitions = await _partitions(still, spec)
        effort = await measure(still, spec, collection.asked, partitions=partitions, trained=trained)
        if effort.recall < TARGET:
            level = logging.WARNING if effort.recall < LOW_RECALL else logging.INFO
            logger.log(level, "the index finds a share of %.3f", effort.recall, extra={"table": name})
        await _note(table, column, effort)


async def _note(table: AsyncTable, column: str, effort: Effort) -> None:
    await table.update_field_metadata({"path": column, "metadata": {METADATA_KEY: effort.to_json()}})


async def _behind(table: AsyncTable) -> int:
    """Rows that an index does not have yet."""
    return max((each.num_unindexed_rows or 0 for each in await table.list_indices()), default=0)


async def _partitions(table: AsyncTable, spec: CollectionSpec) -> int:
    """For so many vectors as the column has."""
    vectors = await table.count_rows()
    if spec.late_interaction:
        sampled = (await table.query().select([COARSE]).limit(_SAMPLED_ROWS).to_arrow()).column(COARSE)
        vectors = vectors * sum(map(len, sampled)) // len(sampled)
    return max(1, round(sqrt(vectors) / _PARTITIONS_OF_ROOT))
