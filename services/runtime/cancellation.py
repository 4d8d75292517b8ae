"""Cancellations that a library may swallow, and those that must wait."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Around redis-py: raises the cancellation that it may swallow. It sends within `asyncio.wait_for`, which before
    Python 3.12 loses one that comes as the wait ends (https://github.com/python/cpython/issues/86296)."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What short work gives that must not be left half done. A cancellation that comes meanwhile is raised when it has
    ended."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.cancelled() or task.exception()  # so that it was looked at
        raise cancelled
    return task.result()
