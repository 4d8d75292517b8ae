"""Asks about every item of a suite that has no result yet: so many at once, each in bounded tries."""

import asyncio
from collections.abc import Callable, Iterator

from chiasm import (
    ChiasmError,
    Internal,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from evals.journal import Journal, Record
from evals.retries import persistently
from evals.suite import Ask, Item, Suite

_ENDS_THE_RUN = (
    Overloaded,
    Unavailable,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)  # the next item would meet it too

MOST_FAULTS = 20
"""So many items in a row that failed, and not because of what was asked, end the run."""


async def run(
    suite: Suite,
    ask: Ask,
    journal: Journal,
    *,
    concurrency: int = 16,
    on_record: Callable[[Item, Record], None] = lambda item, record: None,
) -> dict[str, Record]:
    """Every item's record by id, those of earlier sessions included; new ones are in `journal` as soon as they are.

    Overload and unavailability are tried again. What fails by itself is recorded as failed, and asked again by a later
    run unless the server found the question itself wrong.

    Raises the ChiasmError that ends the run: the server stays away or overloaded, refuses the caller, or does not know
    the model; Internal after `MOST_FAULTS` failures in a row. A later run goes on from there.
    """
    records = {item.id: journal.records[item.id] for item in suite.items if item.id in journal.records}
    pending = (item for item in suite.items if item.id not in records)
    faults = 0

    async def work(items: Iterator[Item]) -> None:
        nonlocal faults
        for item in items:
            record = await _record(item, ask)
            await asyncio.to_thread(journal.append, record)
            records[item.id] = record
            on_record(item, record)
            faults = faults + 1 if record.again else 0
            if faults >= MOST_FAULTS:
                raise Internal(f"{faults} items in a row failed, the last with {record.error}; run again to go on")

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(work(pending))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return records


async def _record(item: Item, ask: Ask) -> Record:
    retries = 0

    def count() -> None:
        nonlocal retries
        retries += 1

    try:
        return Record(item.id, await persistently(lambda: ask(item), on_retry=count), retries)
    except _ENDS_THE_RUN:
        raise
    except ChiasmError as error:
        again = not isinstance(error, InvalidArgument)
        return Record(item.id, (), retries, f"{error.code}: {error.message}", again)
    except OSError as error:
        return Record(item.id, (), retries, f"the picture cannot be read: {error}", again=True)
