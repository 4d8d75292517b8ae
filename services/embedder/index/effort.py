"""How hard a collection's index is searched, so that it finds what there is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import pyarrow as pa
from lancedb import AsyncTable

METADATA_KEY = "chiasm:effort"
"""In the metadata of the searched column: all replicas read what one has measured."""

CANDIDATES = 200
"""At least so many of the first stage are compared by all their vectors."""

ALL = 100_000
"""More partitions than an index has."""


@dataclass(frozen=True)
class Reach:
    """How much one search looks at."""

    probes: int
    """Partitions of the index."""
    candidates: int
    """Of late interaction, the least that are compared by all their vectors; not read elsewhere."""


@dataclass(frozen=True)
class Effort:
    """What measuring an index has shown."""

    probes: Mapping[int, int]
    """By depth: how many partitions must be searched to find so many nearest."""
    candidates: int
    """That late interaction must compare by all their vectors."""
    recall: float
    """With them, at 10."""
    measured: datetime
    """Aware."""
    trained: int
    """Entries that there were when the index was trained."""
    entries: int
    """Entries that there were when it was measured."""

    @classmethod
    def of(cls, schema: pa.Schema, column: str) -> Self | None:
        """None where nothing has been measured."""
        told = (schema.field(column).metadata or {}).get(METADATA_KEY.encode())
        if told is None:
            return None
        facts = json.loads(told)
        return cls(
            probes={int(depth): probes for depth, probes in facts["probes"].items()},
            candidates=facts["candidates"],
            recall=facts["recall"],
            measured=datetime.fromisoformat(facts["measured"]),
            trained=facts["trained"],
            entries=facts["entries"],
        )

    def to_json(self) -> str:
        return json.dumps(
            {
                "probes": self.probes,
                "candidates": self.candidates,
                "recall": self.recall,
                "measured": self.measured.isoformat(),
                "trained": self.trained,
                "entries": self.entries,
            }
        )


def reach_for(effort: Effort | None, depth: float) -> Reach:
    """What finds the `depth` nearest: the whole index, where that was not measured."""
    if effort is None:
        return Reach(ALL, CANDIDATES)
    probes = min((probes for measured, probes in effort.probes.items() if measured >= depth), default=ALL)
    return Reach(probes, effort.candidates)


async def noted(table: AsyncTable, column: str) -> Effort | None:
    """None where nothing has been measured. Raises what LanceDB raises."""
    return Effort.of(await table.schema(), column)


async def note(effort: Effort, table: AsyncTable, column: str) -> None:
    """For all replicas to read. Raises what LanceDB raises."""
    await table.update_field_metadata({"path": column, "metadata": {METADATA_KEY: effort.to_json()}})
