"""One collection: what is put into it, and what is found."""

from collections.abc import Awaitable, Callable, Sequence

from lancedb import AsyncTable

from services.embedder.index.effort import noted
from services.embedder.index.entries import CollectionSpec, CollectionState, Entry, Hit, Query
from services.embedder.index.failures import collection_failures
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

    def __init__(self, table: AsyncTable, spec: CollectionSpec, check: Callable[[], Awaitable[None]]) -> None:
        """`check` raises NotFound where the collection has gone, be its table still there or not."""
        self.spec = spec
        self.table = table
        self._check = check
        self._writer = Writer(table, spec, check)
        self._finder = Finder(table, spec)

    @property
    def asked(self) -> Sequence[Vectors]:
        """The latest queries by meaning."""
        return list(self._finder.asked)

    async def put(self, documents: Sequence[Sequence[Entry]]) -> None:
        """Stores documents for good, each inner sequence all entries of one; each takes the place of what its id had,
        as a whole. Raises Internal where vectors are not as the spec has them.
        """
        async with collection_failures(self._check):
            await self._writer.put(documents)

    async def digests(self, document_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The digest and the number of entries of those that are there, whole, at this moment."""
        async with collection_failures(self._check):
            stored, _ = await self._writer.stored(document_ids)
            await self._check()
        return {document_id: each.whole for document_id, each in stored.items() if each.whole is not None}

    async def remove(self, document_ids: Sequence[str]) -> int:
        """How many of them there were."""
        async with collection_failures(self._check):
            with observed("remove", documents=len(document_ids)):
                stored, _ = await self._writer.stored(document_ids)
                if stored:
                    await self.table.delete(any_of("document_id", list(stored)))
                await self._check()
        return sum(any(part is not None for part in each.parts.values()) for each in stored.values())

    async def search(self, query: Query) -> list[Hit]:
        """Best first. Raises InvalidArgument naming what is at fault: `vectors`, or a part of the filter."""
        async with collection_failures(self._check):
            with observed("search", limit=query.limit, exact=query.exact):
                return await self._finder.find(query)

    async def state(self) -> CollectionState:
        """How much there is, and how far the index is."""
        async with collection_failures(self._check):
            entries = await self.table.count_rows(LIVE)
            documents = await self.table.count_rows(f"{LIVE} AND part = 0")
            column = searched_column(self.spec)
            unindexed = await unindexed_rows(self.table, column)
            effort = await noted(self.table, column)
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
