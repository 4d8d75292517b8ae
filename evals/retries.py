"""Tries a call again while the server is overloaded or away: a bounded number of times."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from chiasm import ChiasmError, Overloaded, Unavailable

TRIES: Final = 5
_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0

T = TypeVar("T")


async def persistently(call: Callable[[], Awaitable[T]], *, on_retry: Callable[[], None] = lambda: None) -> T:
    """What `call` returns. Raises what it raises, Overloaded and Unavailable only after `TRIES` tries."""
    for tries in range(1, TRIES):
        try:
            return await call()
        except (Overloaded, Unavailable) as error:
            on_retry()
            await asyncio.sleep(_pause_s(tries, error))
    return await call()


def _pause_s(tries: int, error: ChiasmError) -> float:
    """What the server asks for, or exponential backoff; with jitter, so that workers do not come back together."""
    wanted = error.retry_after_s or _PAUSE_S * 2**tries
    return min(wanted, _LONGEST_PAUSE_S) * random.uniform(1, 1.25)
