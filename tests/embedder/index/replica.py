"""A replica that writes, as a process of its own: it says what it has stored, a line a document.

python -m tests.embedder.index.replica PLACE NAME DOCUMENTS

Its documents are its own, but for some that every replica writes in the same order, each with another number of parts.
What it has stored before it finds, and passes over.
"""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping

from services.embedder.index.collection import Collection
from services.runtime.errors import Unavailable
from tests.embedder.index.making import SPEC, catalogue, document

TENANT = "tenant"
AT_ONCE = 4
MAX_PARTS = 4
TRIES = 20


async def start(place: str, name: str, documents: int, environment: Mapping[str, str]) -> Process:
    """Its standard output has the lines."""
    command = [sys.executable, "-m", "tests.embedder.index.replica", place, name, str(documents)]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=os.environ | environment)


async def write(place: str, name: str, documents: int) -> None:
    async with catalogue(place) as replica:
        collection = await replica.create(TENANT, SPEC)
        chosen = random.Random(name)
        numbers = iter(range(documents))

        async def worker() -> None:
            for number in numbers:
                await _store(collection, f"{name}-{number}", 1 + number % MAX_PARTS, "1")
                await _store(
                    collection, f"shared-{number // AT_ONCE}", chosen.randint(1, MAX_PARTS), f"{name}-{number}"
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())


async def _store(collection: Collection, document_id: str, parts: int, digest: str) -> None:
    if (await collection.digests([document_id])).get(document_id, ("", 0))[0] != digest:
        for attempt in range(TRIES):
            try:
                await collection.put([document(document_id, parts, digest)])
                break
            except Unavailable:
                if attempt == TRIES - 1:
                    raise
    print(document_id, parts, digest, flush=True)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
