"""Small files are put together, and versions go that no reader has any more."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lancedb import AsyncTable

from services.embedder.index.failures import STORAGE_ERRORS

MARGIN = timedelta(seconds=30)
"""What may pass from the choice of what goes until it goes; what was made so shortly before the rest stays too."""
_NEVER = timedelta(days=36_500)
_TIDIED_EVERY = 64


async def compact(table: AsyncTable) -> None:
    """Puts small files together, and what is new into the indices; removes nothing. Raises what LanceDB raises."""
    await table.optimize(cleanup_older_than=_NEVER)


async def prune(table: AsyncTable, keep: timedelta) -> None:
    """Removes the versions of a compacted table that were superseded longer ago than `keep`.

    LanceDB removes versions by their own age, and one that is days old may have been superseded a second ago. Raises
    what LanceDB raises.
    """
    # LanceDB gives local times that do not say so.
    made = [each["timestamp"].astimezone(UTC) for each in await table.list_versions()]
    now = datetime.now(UTC)
    oldest = oldest_read(made, now - keep)
    if min(made) < oldest - MARGIN:
        await table.optimize(cleanup_older_than=now - oldest + MARGIN)


def oldest_read(made: Sequence[datetime], since: datetime) -> datetime:
    """When the version was made that was the newest at `since`: who began to read then or later has no older one."""
    return max((each for each in made if each <= since), default=min(made))


async def tidy(table: AsyncTable, version: int, keep: timedelta) -> None:
    """For a small table that is written often, after each commit: some of them compact and prune it.

    Fails silently, for the next can do it as well.
    """
    if version % _TIDIED_EVERY == 0:
        with suppress(*STORAGE_ERRORS):
            await compact(table)
            await prune(table, keep)
