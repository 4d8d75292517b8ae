"""One service as a process: its start, its readiness, its log and its end."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import grpc
import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

_POLL_S = 0.05
_TAIL_BYTES = 8192
_CHILD = Path(__file__).with_name("child.py")

T = TypeVar("T")


class State(StrEnum):
    """Where a service is in its life."""

    WAITING = "waiting"
    """For the address of a service it needs."""
    STARTING = "starting"
    LOADING = "loading"
    """It has bound its port, but is not ready."""
    STANDBY = "standby"
    """It has bound its port, and nobody waits for it to be ready: an operator may have left it without a key."""
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    DIED = "died"


@dataclass(frozen=True)
class ServiceSpec:
    """A service that is started as `python -m MODULE`.

    It is told its port and where to write its address in `CHIASM_SERVICE_PORT` and `CHIASM_SERVICE_READY_FILE`.
    """

    name: str
    module: str
    port: int = 0
    """TCP port, 1 to 65535; 0 takes a free one."""
    service: str = ""
    """What its variables are named after; `name` when empty. Replicas of a service differ in `name` alone."""
    health: str = "chiasm.v1.GenerationService"
    """The name that `grpc.health.v1` calls SERVING once the service is ready."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables on top of this process's own; may hold secrets."""
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Variables that take addresses of other services of the stack, separated by commas: variable to service names."""
    required: bool = True
    """Whether the stack is not ready before it is."""


class ServiceDied(Exception):
    """A service ended by itself."""

    def __init__(self, name: str, returncode: int, log_tail: str, log_file: Path) -> None:
        """`returncode` is negative for a signal; `log_tail` is the end of what the service wrote to `log_file`."""
        ending = f"by {signal.Signals(-returncode).name}" if returncode < 0 else f"with exit code {returncode}"
        super().__init__(f"{name} ended {ending}")
        self.name = name
        self.returncode = returncode
        self.log_tail = log_tail
        self.log_file = log_file


class ServiceProcess:
    """A service's process. Its attributes may be read at any time, by any thread."""

    def __init__(self, spec: ServiceSpec, log_dir: Path, on_change: "Callable[[ServiceProcess], None]") -> None:
        """Nothing runs yet. Its output will go to `log_dir`/`NAME.log`; `on_change` is told of each new state."""
        self.spec = spec
        self.log_file = log_dir / f"{spec.name}.log"
        self.state = State.WAITING
        self.address = ""
        """`host:port`; empty until the service has bound it."""
        self._on_change = on_change
        self._group_lives = False
        self._bound = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._started_at: float | None = None
        self._ready_after_s: float | None = None

    @property
    def seconds(self) -> float:
        """From its start until it was ready, or until now while it is not; 0 before its start."""
        if self._ready_after_s is not None:
            return self._ready_after_s
        return 0.0 if self._started_at is None else time.monotonic() - self._started_at

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None before its end."""
        return self._process.returncode if self._process else None

    @property
    def pid(self) -> int | None:
        """The process, and the group of its children; None before its start."""
        return self._process.pid if self._process else None

    async def run(self, addresses: Mapping[str, str], ready_file: Path) -> None:
        """Starts the process with `addresses` in its environment and waits until it is ready. Set a deadline around it.

        Raises OSError when the system refuses the start, ServiceDied when the process ends before it is ready.
        """
        await self._spawn(addresses, ready_file)
        self.address = await self._unless_dead(_written(ready_file))
        self._bound.set()
        self._enter(State.LOADING if self.spec.required else State.STANDBY)
        await self._unless_dead(_serving(self.address, self.spec.health))
        self._ready_after_s = self.seconds
        self._enter(State.READY)

    async def bound_address(self) -> str:
        """Waits for its address. Set a deadline around it."""
        await self._bound.wait()
        return self.address

    async def wait(self) -> None:
        """Waits for its end, once started."""
        assert self._process
        await self._process.wait()

    async def stop(self, timeout_s: float) -> None:
        """Sends SIGTERM, waits up to `timeout_s`, then kills what is left of it and of its children."""
        if self._process is None:
            self._enter(State.STOPPED)
            return
        try:
            if self._process.returncode is None:
                self._enter(State.DRAINING)
                self._process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._process.wait()
        finally:
            self.kill()
        await self._process.wait()
        if self.state is not State.DIED:
            self._enter(State.STOPPED)

    def kill(self) -> None:
        """Kills what is left of it and of its children, at once. Does nothing when called again."""
        if self._process and self._group_lives:
            self._group_lives = False  # its number may become another's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def death(self) -> ServiceDied:
        """The exception for its end, which has come."""
        assert self.returncode is not None
        self._enter(State.DIED)
        return ServiceDied(self.spec.name, self.returncode, "\n".join(self.last_lines(10)), self.log_file)

    def last_lines(self, count: int) -> list[str]:
        """The last lines of its output, `count` at most. Reads its log file."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return log.read().decode(errors="replace").splitlines()[-count:]
        except FileNotFoundError:
            return []

    async def _spawn(self, addresses: Mapping[str, str], ready_file: Path) -> None:
        prefix = f"CHIASM_{(self.spec.service or self.spec.name).upper()}"
        own = {f"{prefix}_PORT": str(self.spec.port), f"{prefix}_READY_FILE": str(ready_file)}
        with self._new_log() as log:
            self._started_at = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_CHILD),
                str(os.getpid()),
                self.spec.module,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.spec.environment, **addresses, **own},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which drains in order
            )
        self._group_lives = True
        self._enter(State.STARTING)

    def _new_log(self) -> BinaryIO:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        return self.log_file.open("wb")

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_change(self)

    async def _unless_dead(self, step: Coroutine[Any, Any, T]) -> T:
        """What `step` returns. Raises ServiceDied when the process ends first."""
        tasks = asyncio.create_task(step), asyncio.create_task(self.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                return tasks[0].result()
            raise self.death()
        finally:
            await cancel(tasks)


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end; what they raise is dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _written(ready_file: Path) -> str:
    """What the service writes to `ready_file`, once it does."""
    while not (address := _text(ready_file)):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(_POLL_S)
    return address


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""


async def _serving(address: str, service: str) -> None:
    """Returns once `grpc.health.v1` at `address` says that `service` is SERVING."""
    async with grpc.aio.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):  # bound, but it does not answer yet
                watch = HealthStub(channel).Watch(HealthCheckRequest(service=service), wait_for_ready=True)
                async for response in watch:
                    if response.status == HealthCheckResponse.SERVING:
                        return
            await asyncio.sleep(_POLL_S)
