"""Tells on stderr how far a long run is."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    """What `work` returns; `what` is printed before it, and the seconds it took after it."""
    print(what, file=sys.stderr, flush=True)
    began = time.monotonic()
    result = work()
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return result
