"""Child processes of bounded memory and time, which end with this one, however that ends."""

import errno
import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock

# A fork would copy gRPC's threads' locks, held for ever.
_spawn = multiprocessing.get_context("spawn")


_OUT_OF_MEMORY = errno.ENOMEM
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)


class CallFailed(Exception):
    """The function raised an exception, or crashed the child."""


class OutOfBounds(CallFailed):
    """The call took more time or memory than it may."""


class ChildKilled(CallFailed):
    """The child was killed from outside amid the call, as a system does that is short of memory; again it may do."""


@dataclass(frozen=True, eq=False)
class Child:
    """A process, and our end of the pipe to it."""

    process: BaseProcess
    pipe: Connection
    _joining: Lock = field(default_factory=Lock)

    def join(self) -> None:
        """Blocks until it is gone, in any thread: of two that waited at once, one would be told that it lives."""
        with self._joining:
            self.process.join()

    @property
    def has_ended(self) -> bool:
        """Of one that waits for a call, and so says nothing else."""
        return self.pipe.poll()

    def failure(self) -> CallFailed:
        """What a call raises in which the process ended. Blocks until it is gone."""
        self.join()
        self.pipe.close()
        code = self.process.exitcode
        if code in (-signal.SIGALRM, _OUT_OF_MEMORY):
            kind: type[CallFailed] = OutOfBounds
        else:
            kind = ChildKilled if code in _FROM_OUTSIDE else CallFailed
        return kind(f"the child ended with {code}")


def start_child(serve: Callable[..., None], *args: object) -> Child:
    """Starts a process that calls `serve` with its end of the pipe and `args`. Blocks for some milliseconds."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=serve, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()  # or its end would not be told
    return Child(process, ours)


@contextmanager
def serving(memory_bytes: int) -> Iterator[None]:
    """In a child: it may take `memory_bytes` beyond what it has, and leaves Ctrl-C to its parent, which drains.

    The block, which ends without an error where the parent closed the pipe or died, is all that the child does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        with suppress(EOFError, ConnectionError):
            yield
    except MemoryError:
        sys.exit(_OUT_OF_MEMORY)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """In a child: the block ends the process, whatever it is at, when it takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def failure_of(error: Exception) -> CallFailed:
    """In a child: what is told of what the function raised. An exception of a library may not be pickled."""
    return (OutOfBounds if isinstance(error, MemoryError) else CallFailed)(repr(error))
