"""The one thread in which models load and compute."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs what it is given, one after the other.

    Unlike an executor's, its thread does not hold up the process's end: a signal amid a long load is heeded.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="models", daemon=True).start()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` returns or raises. Cancelling does not stop work that has begun."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error else future.set_result(result)

        def job() -> None:
            result, error = None, None
            try:
                result = work(*arguments)
            except Exception as raised:  # noqa: BLE001 - it is raised where it is awaited
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
                loop.call_soon_threadsafe(settle, result, error)
            del result, error  # the error's traceback holds this frame, and through it what filled the memory

        self._jobs.put(job)
        return await future

    def stop(self) -> None:
        """End the thread once its work is done."""
        self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
