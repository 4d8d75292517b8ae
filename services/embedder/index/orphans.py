"""Tables that are no collection's: it was deleted, or who made it was killed in the midst."""

import asyncio
import logging

from lancedb import AsyncConnection

from services.embedder.index.failures import STORAGE_ERRORS, first_line
from services.embedder.index.leases import Leases
from services.embedder.index.registry import Registry
from services.embedder.index.schema import is_table_name
from services.embedder.index.storage import table_names

logger = logging.getLogger(__name__)

_LEASE_S = 60.0


class Orphans:
    """Drops them, one of all replicas at a time, once they have been seen for longer than a collection takes to make.
    Tables of others that have other names stay."""

    def __init__(self, connection: AsyncConnection, registry: Registry, leases: Leases, keep_s: float) -> None:
        self._connection = connection
        self._registry = registry
        self._leases = leases
        self._keep_s = keep_s
        self._seen: dict[str, float] = {}
        """By table, when it was first seen to be nobody's."""

    async def sweep(self) -> None:
        """Raises what LanceDB raises."""
        there = await table_names(self._connection)
        used = {each.table for each in (await self._registry.latest()).values()}
        now = asyncio.get_running_loop().time()
        orphans = [name for name in there if is_table_name(name) and name not in used]
        self._seen = {name: self._seen.get(name, now) for name in orphans}
        old = [name for name, seen in self._seen.items() if now - seen > self._keep_s]
        if old:
            async with self._leases.held("drop tables", _LEASE_S) as mine:
                for name in old if mine else ():
                    await self.drop(name)
                    del self._seen[name]  # a store may list an empty folder for ever

    async def drop(self, name: str) -> None:
        """What fails is logged: a later sweep tries again."""
        try:
            await self._connection.drop_table(name, ignore_missing=True)
        except STORAGE_ERRORS as error:
            logger.warning("a table without a collection was not dropped: %s", first_line(error))
