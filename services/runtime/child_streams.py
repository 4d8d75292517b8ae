"""A generator run in child processes of bounded memory and time, its values sent one by one as they are taken."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from services.runtime.children import CallFailed, Child, ended_after, failure_of, serving, start_child

_P = ParamSpec("_P")
_R = TypeVar("_R")


class ChildStreams(Generic[_P, _R]):
    """Children start at the first streams and serve one after the other. They end with this process, however that ends.

    A child makes the next value while the last one is worked on, and then waits until it is taken.

    Args:
        function: of bytes, which are sent as they are, and of more, which is pickled as its values are; of a module, so
            that a child can import it.
        children: most of them, and so most streams at once; others wait.
        memory_bytes: that a child may take beyond those with which it starts.
        timeout_s: seconds that a value may take in the child; waiting until it is taken does not count.
    """

    def __init__(
        self,
        function: Callable[Concatenate[bytes, _P], Iterable[_R]],
        *,
        children: int,
        memory_bytes: int,
        timeout_s: float,
    ) -> None:
        self._of_child = function, memory_bytes, timeout_s
        self._room = asyncio.Semaphore(children)
        self._idle: list[_Stream] = []
        self._threads = ThreadPoolExecutor(children, thread_name_prefix=f"streams-of-{function.__name__}")

    async def __call__(self, data: bytes, *args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_R, None]:
        """To be closed (`aclosing`) by who leaves it early, which ends the child.

        Raises CallFailed, or the one of its kinds that tells whose fault it was.
        """
        loop = asyncio.get_running_loop()
        async with self._room:
            stream = self._idle.pop() if self._idle else _Stream(self._of_child)
            # Here and not in its thread, which may come to it only after the caller was cancelled.
            stream.is_idle = False
            try:
                await loop.run_in_executor(self._threads, stream.begin, data, args, kwargs)
                while values := await loop.run_in_executor(self._threads, stream.receive):
                    yield values[0]
            finally:
                if stream.is_idle:
                    self._idle.append(stream)
                else:
                    stream.kill()
                    await asyncio.shield(loop.run_in_executor(self._threads, stream.close))

    async def close(self) -> None:
        """Ends the children. No stream may be under way."""
        for stream in self._idle:
            stream.kill()
            await asyncio.get_running_loop().run_in_executor(self._threads, stream.close)
        self._threads.shutdown(wait=False)


@dataclass(frozen=True)
class _End:
    """The last that is sent of a stream."""

    failure: CallFailed | None


class _Stream:
    """One stream after the other from one child. All but `kill` block, and wait for one another."""

    def __init__(self, of_child: tuple[Callable[..., Any], int, float]) -> None:
        self.is_idle = True
        self._of_child = of_child
        self._child: Child | None = None
        self._killed = False
        self._lock = threading.Lock()

    def begin(self, data: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises CallFailed."""
        with self._lock:
            if self._child is not None and self._child.has_ended:
                # A system that is short of memory ends those that wait, too.
                self._child.failure()
                self._child = None
            if self._child is None:
                self._child = start_child(_serve, *self._of_child)
            if self._killed:  # while it started
                self._child.process.kill()
            try:
                self._child.pipe.send((args, kwargs))
                self._child.pipe.send_bytes(data)  # to pickle many would hold up the event loop
            except OSError as error:
                raise self._child.failure() from error

    def receive(self) -> tuple[Any] | None:
        """The next value, or None at the end. Raises CallFailed."""
        with self._lock:
            try:
                message = self._child.pipe.recv()
            except (EOFError, OSError) as error:
                raise self._child.failure() from error
        if not isinstance(message, _End):
            return message
        self.is_idle = True
        if message.failure is not None:
            raise message.failure
        return None

    def kill(self) -> None:
        self._killed = True
        if self._child is not None:
            self._child.process.kill()

    def close(self) -> None:
        """After `kill`."""
        with self._lock:
            if self._child is not None:
                self._child.join()
                self._child.pipe.close()


def _serve(pipe: Connection, function: Callable[..., Any], memory_bytes: int, timeout_s: float) -> None:
    """What a child does."""
    with serving(memory_bytes):
        while True:
            _serve_stream(pipe, function, timeout_s)


def _serve_stream(pipe: Connection, function: Callable[..., Any], timeout_s: float) -> None:
    (args, kwargs), data = pipe.recv(), pipe.recv_bytes()
    for message in _messages(lambda: function(data, *args, **kwargs), timeout_s):
        pipe.send(message)


def _messages(function: Callable[[], Iterable[Any]], timeout_s: float) -> Iterator[tuple[Any] | _End]:
    try:
        with ended_after(timeout_s):
            values = iter(function())
        while True:
            with ended_after(timeout_s):
                value = next(values, _END)
            if value is _END:
                break
            yield (value,)
    except Exception as error:  # noqa: BLE001 - all mean that there are no more values
        yield _End(failure_of(error))
    else:
        yield _END


_END = _End(None)
