"""A function called in child processes of bounded memory and time: what bloats, hangs or crashes there ends alone."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from services.runtime.children import CallFailed, Child, ended_after, failure_of, serving, start_child

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, eq=False)
class _Call(Generic[_R]):
    data: bytes
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answer: Future[_R] = field(default_factory=Future)


class ChildCalls(Generic[_P, _R]):
    """Children start at the first calls and serve one call after the other. They end with this process, however that
    ends.

    Args:
        function: of bytes, which are sent as they are, and of more, which is pickled as its value is; of a module, so
            that a child can import it.
        children: most of them, and so most calls at once; others wait, and leave nothing behind when they are
            cancelled. A call that is cancelled at work keeps its child until that is done.
        memory_bytes: that a child may take beyond those with which it starts.
        timeout_s: seconds that a call may take in the child.
    """

    def __init__(
        self, function: Callable[Concatenate[bytes, _P], _R], *, children: int, memory_bytes: int, timeout_s: float
    ) -> None:
        self._of_child = function, memory_bytes, timeout_s
        self._children: list[Child] = []
        self._idle: list[Child] = []
        # The executor's own queue would keep the bytes of calls that were cancelled.
        self._waiting: deque[_Call[_R]] = deque()
        self._free_threads = children
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(children, thread_name_prefix=f"calls-of-{function.__name__}")

    async def __call__(self, data: bytes, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Raises CallFailed, or the one of its kinds that tells whose fault it was."""
        call: _Call[_R] = _Call(data, args, kwargs)
        with self._lock:
            self._waiting.append(call)
            if self._free_threads:
                self._free_threads -= 1
                self._threads.submit(self._serve_waiting)
        try:
            return await asyncio.wrap_future(call.answer)
        except asyncio.CancelledError:
            with self._lock, suppress(ValueError):  # it has begun
                self._waiting.remove(call)
            raise

    async def close(self) -> None:
        """Ends the children, and with them the calls at which they work. A later call starts others."""
        with self._lock:
            children, self._children, self._idle = self._children, [], []
        for child in children:
            child.process.kill()
        for child in children:
            await asyncio.to_thread(child.join)

    def _serve_waiting(self) -> None:
        while call := self._next():
            if call.answer.set_running_or_notify_cancel():
                try:
                    call.answer.set_result(self._value(call))
                except Exception as error:  # noqa: BLE001 - it is the call's
                    call.answer.set_exception(error)

    def _next(self) -> _Call[_R] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free_threads += 1
            return None

    def _value(self, call: _Call[_R]) -> _R:
        """Raises CallFailed."""
        child = self._idle_child() or self._started_child()
        try:
            child.pipe.send((call.args, call.kwargs))
            child.pipe.send_bytes(call.data)  # to pickle many would hold up the event loop
            value, failure = child.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._forget(child) from error
        with self._lock:
            if child in self._children:
                self._idle.append(child)
        if failure is not None:
            raise failure
        return value

    def _idle_child(self) -> Child | None:
        """One that lives: a system that is short of memory ends those that wait, too."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                child = self._idle.pop()
            if not child.has_ended:
                return child
            self._forget(child)

    def _started_child(self) -> Child:
        child = start_child(_serve, *self._of_child)
        with self._lock:
            self._children.append(child)
        return child

    def _forget(self, child: Child) -> CallFailed:
        """After it ended: what it ended with."""
        with self._lock, suppress(ValueError):  # closed
            self._children.remove(child)
        return child.failure()


def _serve(pipe: Connection, function: Callable[..., Any], memory_bytes: int, timeout_s: float) -> None:
    """What a child does."""
    with serving(memory_bytes):
        while True:
            (args, kwargs), data = pipe.recv(), pipe.recv_bytes()
            with ended_after(timeout_s):
                pipe.send(_outcome(function, data, args, kwargs))


def _outcome(
    function: Callable[..., Any], data: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, CallFailed | None]:
    """The value and None, or None and what was raised."""
    try:
        return function(data, *args, **kwargs), None
    except Exception as error:  # noqa: BLE001 - all mean that there is no value
        return None, failure_of(error)
