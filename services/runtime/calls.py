"""Counts the calls in flight, refuses those too many, and lets a drain wait for the last one's clean-up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc

from chiasm.v1.errors_pb2 import ErrorReason
from services.runtime.errors import Overloaded, Unavailable
from services.runtime.interception import AroundInterceptor, is_standard

_MODEL_SERVICE = "chiasm.v1.ModelService/"


class CallTracker(AroundInterceptor):
    """Holds every call from its handler's first line to the end of its clean-up.

    `grpc.aio.Server.stop` returns while cancelled handlers still clean up (https://github.com/grpc/grpc/issues/37239);
    `drained` does not. Calls are refused until `open` and after `close`; health and reflection never are.

    Args:
        max_concurrent_calls: calls handled at once, 1 or more; the next one is refused with `Overloaded`.
    """

    def __init__(self, max_concurrent_calls: int) -> None:
        self._max_concurrent_calls = max_concurrent_calls
        self._calls: set[asyncio.Task] = set()
        self._cut: set[asyncio.Task] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._refusal: Callable[[], Unavailable] | None = _starting

    @property
    def in_flight(self) -> int:
        """Calls whose handlers, clean-up included, have not ended; health and reflection left out."""
        return len(self._calls)

    def open(self) -> None:
        """Lets calls in, unless the server is already shutting down."""
        if not self._closed:
            self._refusal = None

    def close(self) -> None:
        """Refuses new calls from now on: the server is shutting down."""
        self._closed = True
        self._refusal = _shutting_down

    async def drained(self, timeout_s: float) -> bool:
        """Waits for the calls in flight, clean-up included; False when some remain after `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def cancel_all(self) -> None:
        """Cancels the calls in flight; each ends with UNAVAILABLE once it has cleaned up."""
        for task in self._calls - self._cut:
            self._cut.add(task)
            task.cancel()

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        if is_standard(method):
            yield
            return
        self._admit(method)
        task = asyncio.current_task()
        self._calls.add(task)
        self._idle.clear()
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
            raise _shutting_down() from None
        finally:
            self._calls.discard(task)
            self._cut.discard(task)
            if not self._calls:
                self._idle.set()

    def _admit(self, method: str) -> None:
        if self._refusal is not None:
            raise self._refusal()
        # A gateway asks which models are served; an answer that came with load would look like a server that is gone.
        if method.startswith(_MODEL_SERVICE):
            return
        if len(self._calls) >= self._max_concurrent_calls:
            raise Overloaded(f"the server handles {self._max_concurrent_calls} calls at once and has as many")


def _starting() -> Unavailable:
    return Unavailable("the server is starting")


def _shutting_down() -> Unavailable:
    return Unavailable("the server is shutting down", reason=ErrorReason.ERROR_REASON_SHUTTING_DOWN)
