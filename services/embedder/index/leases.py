"""What one of all replicas does at a time: to make a collection, to maintain it."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pyarrow as pa
from lancedb import AsyncConnection, AsyncTable

from services.embedder.index.failures import STORAGE_ERRORS
from services.embedder.index.filters import any_of

TABLE = "leases"
"""No collection's: their tables' names have a dot."""
_TIMEOUT = timedelta(seconds=20)
_TIDIED_EVERY = 64
_KEPT = timedelta(minutes=10)
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"}),
        pa.field("owner", pa.string()),
        pa.field("until", pa.float64()),
    ]
)


class Leases:
    """Kept as a table among the others. Methods raise what LanceDB raises."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._owner = uuid.uuid4().hex
        self._opening = asyncio.Lock()
        self._table: AsyncTable | None = None

    async def open(self) -> AsyncTable:
        """To be called when the process starts: see `Catalogue.create` for what two that make a table at once do."""
        async with self._opening:
            if self._table is None:
                try:
                    self._table = await self._connection.open_table(TABLE)
                except ValueError:
                    self._table = await self._connection.create_table(TABLE, schema=_SCHEMA, exist_ok=True)
            return self._table

    @asynccontextmanager
    async def held(self, name: str, seconds: float) -> AsyncIterator[bool]:
        """Whether it is this process's until the end of the block, for `seconds` at most."""
        table = await self.open()
        await self._write(table, name, time.time() + seconds)
        await table.checkout_latest()
        lease = await table.query().where(any_of("name", [name])).select(["owner"]).to_list()
        if [each["owner"] for each in lease] != [self._owner]:
            yield False
            return
        try:
            yield True
        finally:
            with suppress(*STORAGE_ERRORS):  # it runs out by itself
                await self._write(table, name, 0.0)

    async def _write(self, table: AsyncTable, name: str, until: float) -> None:
        """Does nothing where another's lease has not run out."""
        row = pa.Table.from_pylist([{"name": name, "owner": self._owner, "until": until}], schema=_SCHEMA)
        free = f"target.until < {time.time()!r} OR target.owner = '{self._owner}'"
        merge = table.merge_insert("name").when_matched_update_all(where=free).when_not_matched_insert_all()
        result = await merge.use_index(False).execute(row, timeout=_TIMEOUT)
        if result.version % _TIDIED_EVERY == 0:
            await table.optimize(cleanup_older_than=_KEPT)
