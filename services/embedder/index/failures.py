"""What goes wrong with the storage, as callers are told."""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from chiasm.v1.errors_pb2 import ERROR_REASON_COLLECTION_NOT_FOUND, ERROR_REASON_INDEX_UNAVAILABLE
from services.runtime.errors import NotFound, Unavailable

logger = logging.getLogger(__name__)

# What LanceDB raises: it has no errors of its own, and pyarrow's descend from these.
STORAGE_ERRORS = (OSError, RuntimeError, ValueError)

_MAX_LOGGED = 300
_CONFLICT = re.compile("commit conflict for version|concurrent transaction|too many concurrent writers", re.IGNORECASE)
"""With blanks: the table's name, which is in the text too, has none."""


@contextmanager
def storage_failures() -> Iterator[None]:
    """Around calls of LanceDB: what it says names paths and addresses, and is for the log alone."""
    try:
        yield
    except STORAGE_ERRORS as error:
        logger.error("the index's storage failed: %s", first_line(error))
        raise index_unavailable() from error


@asynccontextmanager
async def collection_failures(check: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """As `storage_failures`, for one collection, whose table another replica may have dropped: `check` raises NotFound
    where it has gone."""
    try:
        with storage_failures():
            yield
    except Unavailable:
        await check()
        raise


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:_MAX_LOGGED]


def is_conflict(error: Exception) -> bool:
    """Whether another writer was first, so that the same may fare better when tried again."""
    return _CONFLICT.search(str(error)) is not None


def index_unavailable() -> Unavailable:
    return Unavailable("the index's storage cannot be reached now", reason=ERROR_REASON_INDEX_UNAVAILABLE)


def collection_not_found(name: str) -> NotFound:
    return NotFound(f"there is no collections/{name}", reason=ERROR_REASON_COLLECTION_NOT_FOUND)
