"""One collection: what is put into it, and what is found."""

from collections.abc import Sequence

from lancedb import AsyncTable

from services.embedder.index.effort import Effort
from services.embedder.index.entries import CollectionSpec, CollectionState, Entry, Hit, Query
from services.embedder.index.failures import storage_failures
from services.embedder.index.filters import any_of
from services.embedder.index.finding import Finder
from services.embedder.index.observation import observed
from services.embedder.index.schema import LIVE, searched_column
from services.embedder.index.writer import Writer
from services.embedder.models.model import Vectors


class Collection:
    """Any number of processes may have the same; each sees at once what it put itself, and what others put within the
    settings' `max_staleness_s`. Every method raises Unavailable where the storage fails, NotFound where the collection
    has gone; give each a deadline.
    """

    def __init__(self, table: AsyncTable, spec: CollectionSpec) -> None:
        self.spec = spec
        self.table = table
        self._writer = Writer(table, spec)
        self._finder = Finder(table, spec)

    @property
    def asked(self) -> Sequence[Vectors]:
        """The latest queries by meaning."""
        return list(self._finder.asked)

    async def put(self, documents: Sequence[Sequence[Entry]]) -> None:
        """Stores documents for good, each inner sequence all entries of one; each takes the place of what its id had,
        as a whole. Raises Internal where vectors are not as the spec has them.
        """
        with storage_failures():
            await self._writer.put(documents)

    async def digests(self, document_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The digest and the number of entries of those that are there, whole, at this moment."""
        with storage_failures():
            stored, _ = await self._writer.stored(document_ids)
        return {document_id: each.whole for document_id, each in stored.items() if each.whole is not None}

    async def remove(self, document_ids: Sequence[str]) -> int:
        """How many of them there were."""
        with storage_failures(), observed("remove", documents=len(document_ids)):
            stored, _ = await self._writer.stored(document_ids)
            if stored:
                await self.table.delete(any_of("document_id", list(stored)))
        return sum(any(part is not None for part in each.parts.values()) for each in stored.values())

    async def search(self, query: Query) -> list[Hit]:
        """Best first. Raises InvalidArgument naming what is at fault: `vectors`, or a part of the filter."""
        with storage_failures(), observed("search", limit=query.limit, exact=query.exact):
            return await self._finder.find(query)

    async def state(self) -> CollectionState:
        """How much there is, and how far the index is."""
        with storage_failures():
            entries = await self.table.count_rows(LIVE)
            documents = await self.table.count_rows(f"{LIVE} AND part = 0")
            column = searched_column(self.spec)
            unindexed = await unindexed_rows(self.table, column)
            effort = Effort.of(await self.table.schema(), column)
        unindexed = entries if unindexed is None else min(unindexed, entries)
        return CollectionState(
            documents=documents,
            entries=entries,
            indexed=entries - unindexed,
            unindexed=unindexed,
            recall=effort and effort.recall,
            measured=effort and effort.measured,
        )

    async def close(self) -> None:
        """Waits for what is being stored."""
        await self._writer.close()


async def unindexed_rows(table: AsyncTable, column: str) -> int | None:
    """None where the column has no index."""
    return next((each.num_unindexed_rows for each in await table.list_indices() if each.columns == [column]), None)
