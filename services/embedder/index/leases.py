"""What one of all replicas does at a time."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import NoReturn, Self

import pyarrow as pa
from lancedb import AsyncConnection, AsyncTable

from services.embedder.index.failures import STORAGE_ERRORS
from services.embedder.index.filters import any_of
from services.embedder.index.schema import key
from services.embedder.index.storage import shared_table
from services.embedder.index.upkeep import tidy
from services.runtime.cancellation import to_the_end

_TABLE = "leases"
_TIMEOUT = timedelta(seconds=20)
_RENEWED = 4
"""Times in the seconds that a lease is for."""
_KEPT = timedelta(minutes=10)
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=key()),
        pa.field("owner", pa.string()),
        pa.field("until", pa.float64()),
    ]
)


class Leases:
    """Kept as a table among the others. Methods raise what LanceDB raises."""

    def __init__(self, table: AsyncTable) -> None:
        self._table = table
        self._owner = uuid.uuid4().hex

    @classmethod
    async def open(cls, connection: AsyncConnection) -> Self:
        return cls(await shared_table(connection, _TABLE, _SCHEMA))

    @asynccontextmanager
    async def held(self, name: str, seconds: float) -> AsyncIterator[bool]:
        """Whether it is this process's until the end of the block. Where the process dies it is for `seconds`."""
        owned = True  # for all that is known, until it is read
        try:
            await self._write(name, time.time() + seconds)
            await self._table.checkout_latest()
            lease = await self._table.query().where(any_of("name", [name])).select(["owner"]).to_list()
            owned = [each["owner"] for each in lease] == [self._owner]
            if not owned:
                yield False
                return
            renewing = asyncio.create_task(self._renew(name, seconds), name=f"renew the lease {name}")
            try:
                yield True
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
        finally:
            if owned:
                await to_the_end(self._release(name))

    async def _renew(self, name: str, seconds: float) -> NoReturn:
        while True:
            await asyncio.sleep(seconds / _RENEWED)
            with suppress(*STORAGE_ERRORS):  # there are more times
                await self._write(name, time.time() + seconds)

    async def _release(self, name: str) -> None:
        with suppress(*STORAGE_ERRORS):  # it runs out by itself
            await self._write(name, 0.0)

    async def _write(self, name: str, until: float) -> None:
        """Does nothing where another's lease has not run out."""
        row = pa.Table.from_pylist([{"name": name, "owner": self._owner, "until": until}], schema=_SCHEMA)
        free = f"target.until < {time.time()!r} OR target.owner = '{self._owner}'"
        merge = self._table.merge_insert("name").when_matched_update_all(where=free).when_not_matched_insert_all()
        result = await merge.use_index(False).execute(row, timeout=_TIMEOUT)
        await tidy(self._table, result.version, _KEPT)
