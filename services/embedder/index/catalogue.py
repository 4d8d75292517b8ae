"""The collections of all tenants, in one folder or bucket that any number of replicas share."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import NoReturn, Self

from lancedb import AsyncConnection

from chiasm.v1.errors_pb2 import ERROR_REASON_COLLECTION_EXISTS
from services.embedder.index.collection import Collection
from services.embedder.index.column_indices import index_columns
from services.embedder.index.entries import CollectionSpec
from services.embedder.index.failures import collection_failures, collection_not_found, storage_failures
from services.embedder.index.keeper import Keeper
from services.embedder.index.leases import Leases
from services.embedder.index.orphans import Orphans
from services.embedder.index.registry import Key, Registered, Registry
from services.embedder.index.schema import check_names, new_table_name, schema_of
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect
from services.runtime.errors import AlreadyExists

_MAKING_S = 30.0
"""With the commit that follows less than the least `index_keep_versions_s`, after which the table would be dropped."""


class Catalogue:
    """Methods raise Unavailable where the storage fails; give each a deadline. A tenant sees its own alone."""

    def __init__(self, connection: AsyncConnection, registry: Registry, keeper: Keeper, orphans: Orphans) -> None:
        self._connection = connection
        self._registry = registry
        self._keeper = keeper
        self._orphans = orphans
        self._open: dict[str, Collection] = {}
        """By table."""
        self._creating = asyncio.Lock()

    @classmethod
    async def open(cls, settings: IndexSettings) -> Self:
        """Raises Unavailable where the storage cannot be reached."""
        keep_s = settings.index_keep_versions_s
        with storage_failures():
            connection = await connect(settings)
            leases = await Leases.open(connection)
            registry = await Registry.open(connection, timedelta(seconds=keep_s))
        keeper = Keeper(connection, leases, settings)
        return cls(connection, registry, keeper, Orphans(connection, registry, leases, keep_s))

    async def create(self, tenant: str, spec: CollectionSpec) -> Collection:
        """Makes it; one that is the same but for when it was made is returned as it is. Raises AlreadyExists."""
        check_names(tenant, spec.name)
        key = tenant, spec.name
        with storage_failures():
            async with self._creating:
                registered = (await self._registry.latest()).get(key) or await self._make(tenant, spec)
        collection = await self._collection(key, registered)
        if replace(collection.spec, created=spec.created) != spec:
            raise AlreadyExists(
                f"collections/{spec.name} is there and was made otherwise", reason=ERROR_REASON_COLLECTION_EXISTS
            )
        return collection

    async def get(self, tenant: str, name: str) -> Collection:
        """Raises NotFound."""
        check_names(tenant, name)
        with storage_failures():
            registered = await self._registry.get((tenant, name))
        return await self._collection((tenant, name), registered)

    async def list(self, tenant: str) -> list[CollectionSpec]:
        """By name."""
        with storage_failures():
            registered = await self._registry.latest()
        return [registered[key].spec for key in sorted(registered) if key[0] == tenant]

    async def delete(self, tenant: str, name: str) -> None:
        """Raises NotFound."""
        check_names(tenant, name)
        with storage_failures():
            registered = (await self._registry.latest()).get((tenant, name))
            if registered is None:
                raise collection_not_found(name)
            await self._registry.remove(registered)
        self._open.pop(registered.table, None)
        await self._orphans.drop(registered.table)

    async def run(self) -> NoReturn:
        """Maintains all collections, one after the other, for ever. What fails is logged, counted and tried again."""
        while True:
            await self._keeper.pause()
            registered: Mapping[Key, Registered] = {}
            with self._keeper.attempt("the collections were not listed"):
                registered = await self._registry.latest()
                await self._orphans.sweep()
            for gone in self._open.keys() - {each.table for each in self._registry.known.values()}:
                del self._open[gone]
            for (tenant, name), each in registered.items():
                await self._keeper.keep(each.table, partial(self.get, tenant, name))

    async def close(self) -> None:
        """Waits for what is being stored."""
        for collection in self._open.values():
            await collection.close()
        self._connection.close()

    async def _collection(self, key: Key, registered: Registered | None) -> Collection:
        """Of one table the same while it is there, for what a process puts it reads at once. Raises NotFound."""
        if registered is None:
            raise collection_not_found(key[1])
        if registered.table not in self._open:
            check = partial(self._check, key, registered)
            async with collection_failures(check):
                table = await self._connection.open_table(registered.table)
            self._open.setdefault(registered.table, Collection(table, registered.spec, check))
        return self._open[registered.table]

    async def _check(self, key: Key, registered: Registered) -> None:
        """Raises NotFound where the collection has gone, also where another is there under its name."""
        with storage_failures():
            latest = await self._registry.latest()
        if latest.get(key) != registered:
            raise collection_not_found(key[1])

    async def _make(self, tenant: str, spec: CollectionSpec) -> Registered | None:
        """The one that is there afterwards, whoever made it. What is cut short here leaves an orphan."""
        table = new_table_name(tenant, spec.name)
        async with asyncio.timeout(_MAKING_S):
            made = await self._connection.create_table(table, schema=schema_of(spec))
            await index_columns(made, spec)
        registered = await self._registry.add(tenant, spec, table)
        if registered is None or registered.table != table:
            await self._orphans.drop(table)
        return registered
