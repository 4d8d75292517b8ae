"""Cancellations that a library may swallow."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
