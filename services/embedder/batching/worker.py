"""The one thread in which models load and compute."""

import asyncio
import contextlib
import logging
import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]

    def end(self, result: Any, error: Exception | None) -> None:
        """From the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
            self.future.get_loop().call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: Exception | None) -> None:
        if not self.future.done():
            self.future.set_exception(error) if error else self.future.set_result(result)


class Worker:
    """Runs what it is given, one after the other.

    Unlike an executor's, its thread does not hold up the process's end: a signal amid a long load is heeded.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` returns or raises. Cancelling does not stop work that has begun.

        Raises RuntimeError for what is no Exception, such as a panic of Rust, and for what a future cannot hold.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, arguments, future))
        try:
            return await future
        finally:
            del future  # else what it raises would hold itself, through this frame, and what was given

    async def stop(self) -> None:
        """Ends the thread, and waits a few seconds for the work that has begun: torch does not bear it when the
        interpreter ends around it.
        """
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, _STOP_S)
        if self._thread.is_alive():
            logger.warning("the models' thread is left amid its work")

    def _work(self) -> None:
        while job := self._jobs.get():
            result, error = _outcome(job.work, job.arguments)
            if error is not None:
                _clear_frames(error)
            job.end(result, error)
            del job, result, error  # else this frame would hold them until the next


def _outcome(work: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T | None, Exception | None]:
    try:
        return work(*arguments), None
    except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
        if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
            return None, raised
        error = RuntimeError(f"{type(raised).__name__}: {raised}")
        error.__cause__ = raised
        return None, error


def _clear_frames(error: BaseException) -> None:
    """Of the calls that `error` and what led to it came through: their locals, which may fill the GPU, would live as
    long as it does.
    """
    chain = [error]
    for link in chain:
        traceback.clear_frames(link.__traceback__)
        led = (link.__cause__, link.__context__)
        chain += [each for each in led if each is not None and each not in chain]
