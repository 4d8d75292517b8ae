"""Services that run together as processes: started at once, ready together, stopped in order."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from chiasm.command.service_process import ServiceProcess, ServiceSpec, cancel


class Stack:
    """Use it in an `async with` block: it starts the services at its head and stops them at its end.

    They start at once, each as soon as the addresses it needs are known, and stop one after the other, the last of
    `specs` first: so list a service after those it calls.
    """

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        *,
        log_dir: Path,
        drain_timeout_s: float = 75.0,
        on_change: Callable[[ServiceProcess], None] = lambda service: None,
    ) -> None:
        """Nothing runs yet.

        Args:
            specs: The services, each after those it needs.
            log_dir: Where each service's output goes, to `NAME.log`; made when missing.
            drain_timeout_s: Seconds that each service has to end after SIGTERM, above 0; then it is killed.
            on_change: Told of each service that enters a new state; it must not block.
        """
        self._drain_timeout_s = drain_timeout_s
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._ready_dir: tempfile.TemporaryDirectory[str] | None = None
        self.services = {spec.name: ServiceProcess(spec, log_dir, on_change) for spec in specs}

    async def start(self) -> None:
        """Begins to start every service."""
        self._ready_dir = tempfile.TemporaryDirectory(prefix="chiasm-")
        self._starts = {
            name: asyncio.create_task(self._start(service, Path(self._ready_dir.name, name)))
            for name, service in self.services.items()
        }

    async def wait_ready(self, timeout_s: float = 300.0) -> None:
        """Returns once every service that is required is ready.

        Raises ServiceDied when one ends, required or not; OSError when one cannot be started; TimeoutError after
        `timeout_s`.
        """
        late = {start: name for name, start in self._starts.items() if self.services[name].spec.required}
        starting = set(self._starts.values())
        try:
            async with asyncio.timeout(timeout_s):
                while late:
                    done, starting = await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
                    for start in done:
                        start.result()
                        late.pop(start, None)
        except TimeoutError:
            raise TimeoutError(f"not ready after {timeout_s:g} s: {', '.join(late.values())}") from None

    async def wait_death(self) -> NoReturn:
        """Waits, once all are ready, until a service ends. Raises ServiceDied for it."""
        waits = [asyncio.create_task(service.wait()) for service in self.services.values()]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(waits)
        raise next(service.death() for service in self.services.values() if service.returncode is not None)

    async def stop(self) -> None:
        """Stops every service, the last first. When it is cancelled, it kills those left."""
        await cancel(self._starts.values())
        try:
            for service in reversed(self.services.values()):
                await service.stop(self._drain_timeout_s)
        finally:
            for service in self.services.values():
                service.kill()
            if self._ready_dir:
                self._ready_dir.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self, service: ServiceProcess, ready_file: Path) -> None:
        addresses = {
            variable: ",".join([await self.services[name].bound_address() for name in names])
            for variable, names in service.spec.addresses.items()
        }
        await service.run(addresses, ready_file)
