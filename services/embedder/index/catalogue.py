"""The collections of all tenants, in one folder or bucket that any number of replicas share."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn, Self

from lancedb import AsyncConnection

from chiasm.v1.errors_pb2 import ERROR_REASON_COLLECTION_EXISTS
from services.embedder.index.collection import Collection
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.failures import STORAGE_ERRORS, collection_not_found, index_unavailable, storage_failures
from services.embedder.index.keeper import Keeper
from services.embedder.index.leases import Leases
from services.embedder.index.schema import carries, names_in, schema_of, spec_of, table_name
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect
from services.runtime.errors import AlreadyExists, NotFound

_OPENED_AT_ONCE = 16
_PAGE = 1_000
_CREATING_S = 30.0
"""After so long a replica that began to make a collection is taken to have died."""
_TRIES, _TRY_S = 40, 1.0


class Catalogue:
    """Methods raise Unavailable where the storage fails; give each a deadline. A tenant sees its own alone."""

    def __init__(self, connection: AsyncConnection, leases: Leases, keeper: Keeper) -> None:
        self._connection = connection
        self._leases = leases
        self._keeper = keeper
        self._open: dict[str, Collection] = {}
        self._creating = asyncio.Lock()

    @classmethod
    async def open(cls, settings: IndexSettings) -> Self:
        """Raises Unavailable where the storage cannot be reached."""
        with storage_failures():
            connection = await connect(settings)
            leases = Leases(connection)
            await leases.open()
        return cls(connection, leases, Keeper(connection, leases, settings))

    async def create(self, tenant: str, spec: CollectionSpec) -> Collection:
        """Makes it; one that is the same but for when it was made is returned as it is. Raises AlreadyExists."""
        name = table_name(tenant, spec.name)
        with storage_failures():
            async with self._creating:
                await self._make(name, spec)
        collection = await self.get(tenant, spec.name)
        if replace(collection.spec, created=spec.created) != spec:
            raise AlreadyExists(
                f"collections/{spec.name} is there and was made otherwise", reason=ERROR_REASON_COLLECTION_EXISTS
            )
        return collection

    async def get(self, tenant: str, name: str) -> Collection:
        """Raises NotFound."""
        table = table_name(tenant, name)
        return await self._collection(table, name)

    async def list(self, tenant: str) -> list[CollectionSpec]:
        """By name."""
        with storage_failures():
            tables = await self._names()
        own = sorted(name for owner, name in filter(None, map(names_in, tables)) if owner == tenant)
        at_once = asyncio.Semaphore(_OPENED_AT_ONCE)

        async def spec(name: str) -> CollectionSpec | None:
            async with at_once:
                try:
                    return (await self.get(tenant, name)).spec
                except NotFound:  # it was removed meanwhile
                    return None

        return [spec for spec in await asyncio.gather(*map(spec, own)) if spec is not None]

    async def delete(self, tenant: str, name: str) -> None:
        """Raises NotFound."""
        await self.get(tenant, name)
        table = table_name(tenant, name)
        with storage_failures():
            await self._connection.drop_table(table, ignore_missing=True)
        self._open.pop(table, None)

    async def run(self) -> NoReturn:
        """Maintains all collections, one after the other, for ever. What fails is logged, counted and tried again."""
        while True:
            await self._keeper.pause()
            try:
                tables = await self._names()
            except STORAGE_ERRORS as error:
                self._keeper.failed("the collections were not listed", error)
                continue
            for table in tables:
                if (names := names_in(table)) is not None:
                    await self._keeper.keep(table, partial(self.get, *names))

    async def close(self) -> None:
        """Waits for what is being stored."""
        for collection in self._open.values():
            await collection.close()
        self._connection.close()

    async def _collection(self, table: str, name: str) -> Collection:
        """The one that is open already, for what a process puts it reads at once, unless it has gone meanwhile."""
        known = self._open.get(table)
        if known is not None:
            with suppress(*STORAGE_ERRORS):
                if carries(await known.table.schema(), known.spec):
                    return known
        with storage_failures():
            try:
                handle = await self._connection.open_table(table)
            except ValueError as error:
                if "not found" not in str(error):
                    raise
                self._open.pop(table, None)
                raise collection_not_found(name) from None
            spec = spec_of(await handle.schema())
        if (known := self._open.get(table)) is None or known.spec != spec:
            self._open[table] = Collection(handle, spec)
        return self._open[table]

    async def _make(self, name: str, spec: CollectionSpec) -> None:
        """Returns once the table is there, whoever made it.

        Of two that create a table at once LanceDB lets both succeed, and the later puts an empty one in the other's
        place, so that what was stored meanwhile is lost: one of all replicas does at a time.
        """
        for _ in range(_TRIES):
            if name in await self._names():
                return
            async with self._leases.held(f"create {name}", _CREATING_S) as mine:
                if mine and name not in await self._names():
                    await self._keeper.index_columns(
                        await self._connection.create_table(name, schema=schema_of(spec)), spec
                    )
            if not mine:
                await asyncio.sleep(random.uniform(0, _TRY_S))
        raise index_unavailable()

    async def _names(self) -> Sequence[str]:
        names: list[str] = []
        token = None
        while token != "":
            page = await self._connection.list_tables(page_token=token, limit=_PAGE)
            names += page.tables
            token = page.page_token or ""
        return names
