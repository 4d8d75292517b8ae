"""How long a call may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from services.runtime.errors import DeadlineExceeded


def remaining_s(context: grpc.aio.ServicerContext, default_s: float, max_s: float) -> float:
    """Seconds left for this call: what the caller gave, `default_s` where it gave none, at most `max_s`.

    Raises:
        DeadlineExceeded: none is left.
    """
    left_s = context.time_remaining()
    left_s = min(default_s if left_s is None else left_s, max_s)
    if left_s <= 0:
        raise DeadlineExceeded("the deadline had passed before the work began")
    return left_s


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Bounds a block to `seconds`, 0 or more.

    Raises:
        DeadlineExceeded: the block was not done in time. A TimeoutError of the block's own passes untouched.
    """
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError:
        if scope.expired():
            raise DeadlineExceeded(f"not done within {seconds:.3g} s") from None
        raise
