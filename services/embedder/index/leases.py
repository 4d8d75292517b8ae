"""Who maintains a collection: one of all replicas at a time."""

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
LEASE_S = 600.0
"""After so long another replica may begin: two at once is waste, not harm."""

_TIMEOUT = timedelta(seconds=20)
_TIDIED_EVERY = 64
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
        self._table: AsyncTable | None = None

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[bool]:
        """Whether it is ours until the end of the block."""
        table = await self._opened()
        await self._write(table, name, time.time() + LEASE_S)
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
            await table.optimize(cleanup_older_than=timedelta(seconds=LEASE_S))

    async def _opened(self) -> AsyncTable:
        if self._table is None:
            try:
                self._table = await self._connection.open_table(TABLE)
            except ValueError:
                self._table = await self._connection.create_table(TABLE, schema=_SCHEMA, exist_ok=True)
        return self._table
