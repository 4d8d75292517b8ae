"""A function called in child processes of bounded memory and time: what bloats, hangs or crashes there ends alone."""

import asyncio
import multiprocessing
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
# A fork would copy gRPC's threads' locks, held for ever.
_spawn = multiprocessing.get_context("spawn")


class CallFailed(Exception):
    """The function raised an exception, or the child ended: out of memory, out of time, or by a fault."""


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    pipe: Connection


class ChildCalls(Generic[_P, _R]):
    """Children start at the first calls and serve one call after the other. They end with this process, however that
    ends.

    Args:
        function: of bytes, which are sent as they are, and of more, which is pickled as its value is; of a module, so
            that a child can import it.
        children: most of them, and so most calls at once; others wait.
        memory_bytes: that a child may take beyond those with which it starts.
        timeout_s: seconds that a call may take in the child.
    """

    def __init__(
        self, function: Callable[Concatenate[bytes, _P], _R], *, children: int, memory_bytes: int, timeout_s: float
    ) -> None:
        self._of_child = function, memory_bytes, timeout_s
        self._threads = ThreadPoolExecutor(children, thread_name_prefix=f"calls-of-{function.__name__}")
        self._own = threading.local()

    async def __call__(self, data: bytes, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Raises CallFailed."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, data, args, kwargs)

    def _call(self, data: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _R:
        child: _Child | None = getattr(self._own, "child", None)
        if child is None:
            child = self._own.child = self._start()
        try:
            child.pipe.send((args, kwargs))
            child.pipe.send_bytes(data)  # to pickle many would hold up the event loop
            value, failure = child.pipe.recv()
        except (EOFError, OSError) as error:
            self._own.child = None
            child.pipe.close()
            child.process.join()
            raise CallFailed(f"the child ended with {child.process.exitcode}") from error
        if failure:
            raise CallFailed(failure)
        return value

    def _start(self) -> _Child:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_serve, args=(theirs, *self._of_child), daemon=True)
        process.start()
        theirs.close()  # or its end would not be told
        return _Child(process, ours)


def _serve(pipe: Connection, function: Callable[..., Any], memory_bytes: int, timeout_s: float) -> None:
    """What a child does, until its parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which drains
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with suppress(EOFError, ConnectionError):
        while True:
            (args, kwargs), data = pipe.recv(), pipe.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, timeout_s)  # whose signal ends the process, whatever it is at
            pipe.send(_outcome(function, data, args, kwargs))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _outcome(
    function: Callable[..., Any], data: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, str]:
    """The value and an empty text, or None and what was raised: an exception of a library may not be pickled."""
    try:
        return function(data, *args, **kwargs), ""
    except Exception as error:  # noqa: BLE001 - all mean that there is no value
        return None, repr(error)
