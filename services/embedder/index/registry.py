"""Which collections there are, and the table of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeAlias

import pyarrow as pa
from lancedb import AsyncConnection, AsyncTable

from services.embedder.index.entries import CollectionSpec
from services.embedder.index.filters import any_of
from services.embedder.index.schema import key, spec_from_json, spec_to_json
from services.embedder.index.storage import shared_table
from services.embedder.index.upkeep import tidy

Key: TypeAlias = tuple[str, str]
"""Tenant and collection."""

_TABLE = "collections"
_TIMEOUT = timedelta(seconds=20)
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=key()),
        pa.field("table_name", pa.string()),
        pa.field("spec", pa.string()),
    ]
)


@dataclass(frozen=True)
class Registered:
    """A collection that is there."""

    table: str
    """The name of its table, which no other collection ever has: what is committed to it late harms none."""
    spec: CollectionSpec


class Registry:
    """Kept as a table among the others: a collection is there while its row is. Methods raise what LanceDB raises."""

    def __init__(self, table: AsyncTable, keep: timedelta) -> None:
        self._table = table
        self._keep = keep
        self.known: Mapping[Key, Registered] = {}
        """All, as they were read last."""
        self._version = 0

    @classmethod
    async def open(cls, connection: AsyncConnection, keep: timedelta) -> Self:
        """Versions that were superseded longer ago than `keep` go."""
        return cls(await shared_table(connection, _TABLE, _SCHEMA), keep)

    async def get(self, key: Key) -> Registered | None:
        """What another replica did may stay unseen for the connection's read consistency interval, except that it
        has made what was not there."""
        return (await self._read()).get(key) or (await self.latest()).get(key)

    async def latest(self) -> Mapping[Key, Registered]:
        """All, at this moment."""
        await self._table.checkout_latest()
        return await self._read()

    async def add(self, tenant: str, spec: CollectionSpec, table: str) -> Registered | None:
        """The one that is there afterwards: another's, where that was first; None where it was removed at once."""
        row = {"name": f"{tenant}/{spec.name}", "table_name": table, "spec": spec_to_json(spec)}
        merge = self._table.merge_insert("name").when_not_matched_insert_all()
        # By way of a scalar index Lance does not note which keys are inserted, and two could insert the same.
        result = await merge.use_index(False).execute(pa.Table.from_pylist([row], schema=_SCHEMA), timeout=_TIMEOUT)
        await tidy(self._table, result.version, self._keep)
        return (await self.latest()).get((tenant, spec.name))

    async def remove(self, registered: Registered) -> None:
        """Does nothing to one that was made anew meanwhile."""
        result = await self._table.delete(any_of("table_name", [registered.table]))
        await tidy(self._table, result.version, self._keep)

    async def _read(self) -> Mapping[Key, Registered]:
        version = await self._table.version()
        if version != self._version:
            rows = (await self._table.query().to_arrow()).to_pylist()
            if version > self._version:  # who began to read later may have been faster
                self.known, self._version = dict(map(_entry, rows)), version
        return self.known


def _entry(row: Mapping[str, str]) -> tuple[Key, Registered]:
    tenant, _, name = row["name"].partition("/")
    return (tenant, name), Registered(row["table_name"], spec_from_json(row["spec"]))
