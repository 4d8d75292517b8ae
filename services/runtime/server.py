"""Serve and drain: what every service's process does from its first line to its exit code."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime import logs, telemetry
from services.runtime.boundary import Boundary
from services.runtime.callers import AllowedCallers
from services.runtime.calls import CallTracker
from services.runtime.config import BadSetting, ServiceSettings
from services.runtime.health import HealthService, Readiness
from services.runtime.signals import StopSignals

CLEAN_UP_S = 5.0
"""Seconds that calls cut at the end of a drain have to clean up and send their status."""
STOP_S = 30.0
"""Seconds that `Service.run` has to heed its cancellation, and `Service.stop` to close everything."""

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What `serve` serves."""

    names: tuple[str, ...]
    """Full names of the gRPC services whose readiness it governs, such as `chiasm.v1.GenerationService`."""
    readiness: Readiness
    """Assigned by `serve` before `start`. Ready once `start` has returned, unless that withheld it; the service may
    turn it off and on."""

    # It may have `interceptors`, a tuple: they run within the runtime's own, around every call that is let in.

    def register(self, server: grpc.aio.Server) -> None:
        """Adds its servicers. Their handlers must be async; they are called only after `start` has returned."""

    async def start(self) -> None:
        """Opens what it needs; may take minutes. Raising BadSetting ends the process with 2, all else with 1."""

    async def run(self) -> None:
        """Lives while the service is healthy, through a drain too. Returning or raising ends the process with 1."""

    async def stop(self) -> None:
        """Closes what it has opened, once the last call has ended and `run` is cancelled; or after a failed `start`."""


def main(service_factory: Callable[[], Service], settings: ServiceSettings) -> NoReturn:
    """Logs, traces, serves until told to stop, and exits with `serve`'s code."""
    logs.configure(settings.service, settings.log_level, settings.log_format)
    telemetry.configure(settings.service, settings)
    try:
        # uvloop is the faster one under gRPC: bench/results/loop.txt
        code = uvloop.run(_make_and_serve(service_factory, settings))
    except BadSetting as error:
        settings.refuse(error)
    finally:
        telemetry.shutdown()
    sys.exit(code)


async def _make_and_serve(service_factory: Callable[[], Service], settings: ServiceSettings) -> int:
    try:
        return await serve(service_factory(), settings)
    except BadSetting:
        raise
    except Exception:
        logger.exception("cannot serve")
        return 1


async def serve(service: Service, settings: ServiceSettings) -> int:
    """Serves until SIGTERM or SIGINT, or until the service fails; then drains.

    Liveness is SERVING from the moment the port is bound. Draining: readiness off, a pause for it to be heard of,
    no new calls, every call in flight to its end (cut with UNAVAILABLE at `drain_timeout_s`, or at a second signal),
    then `service.stop`.

    Returns:
        The exit code: 0 after a drain that was asked for, 1 when the service failed or could not be stopped in time.

    Raises:
        BadSetting: the service found one while it started.
        OSError: a TLS or ready file cannot be read or written.
        RuntimeError: the address cannot be bound.
    """
    health = HealthService(service.names)
    tracker = CallTracker(settings.max_concurrent_calls)
    allowed = AllowedCallers(settings.allowed_callers)
    own = getattr(service, "interceptors", ())
    server = grpc.aio.server(
        interceptors=(telemetry.TracingInterceptor(), Boundary(), allowed, tracker, *own), options=_options(settings)
    )
    service.readiness = Readiness(health, service.names)
    service.register(server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection((*service.names, _HEALTH, reflection.SERVICE_NAME), server)
    address = _bind(server, settings)
    with StopSignals() as signals:
        await server.start()
        life = asyncio.create_task(_live(service, tracker), name="service")
        try:
            if settings.ready_file is not None:
                await asyncio.to_thread(_write_atomically, settings.ready_file, address)
            logger.info("listening", extra={"address": address})
            await _until(signals.stop, life)
            drained = await _drain(server, health, tracker, signals.hurry, settings)
        finally:
            await server.stop(None)  # without effect after a drain
            failed = life.done()
            stopped = await _stop(service, life)
    logger.info("stopped")
    if isinstance(error := _failure(life), BadSetting):
        raise error
    return 0 if drained and stopped and not failed else 1


async def _live(service: Service, tracker: CallTracker) -> None:
    await service.start()
    tracker.open()
    if service.readiness.withheld:
        logger.warning("not ready: %s", service.readiness.withheld)
    else:
        service.readiness.set(True)
        logger.info("ready")
    await service.run()
    raise RuntimeError("the service's run() returned")


async def _drain(
    server: grpc.aio.Server,
    health: HealthService,
    tracker: CallTracker,
    hurry: asyncio.Event,
    settings: ServiceSettings,
) -> bool:
    """Ends every call; False when some handler was still cleaning up at the very end."""
    logger.info("draining", extra={"calls": tracker.in_flight})
    health.freeze()
    await _until(hurry, asyncio.sleep(settings.drain_propagation_s))
    tracker.close()
    # From here on clients are told to go elsewhere (GOAWAY). Calls that reach the socket just then never reach us;
    # gRPC ends them with CANCELLED.
    stopping = asyncio.create_task(server.stop(settings.drain_timeout_s + CLEAN_UP_S), name="stop server")
    await _until(hurry, tracker.drained(settings.drain_timeout_s))
    health.close()
    tracker.cancel_all()
    await server.stop(CLEAN_UP_S)  # what is left are statuses to be sent, and a client that holds reflection open
    await stopping
    if await tracker.drained(CLEAN_UP_S):
        return True
    logger.error("calls did not end", extra={"calls": tracker.in_flight})
    return False


async def _stop(service: Service, life: asyncio.Task[None]) -> bool:
    """Ends the service; False when that failed."""
    life.cancel()
    await asyncio.wait({life}, timeout=STOP_S)
    if not life.done():
        logger.error("the service does not heed its cancellation")
        return False
    if (error := _failure(life)) is not None and not isinstance(error, BadSetting):
        logger.error("the service failed", exc_info=error)
    try:
        async with asyncio.timeout(STOP_S):
            await service.stop()
    except Exception:
        logger.exception("the service did not stop")
        return False
    return True


def _failure(life: asyncio.Task[None]) -> BaseException | None:
    """What a service raised; None when it lives on or was cancelled."""
    return life.exception() if life.done() and not life.cancelled() else None


async def _until(event: asyncio.Event, work: Awaitable[Any]) -> None:
    """Waits for `work` or for `event`, whichever comes first. A task of the caller's goes on; a coroutine is ended."""
    mine = [asyncio.create_task(event.wait())]
    if not asyncio.isfuture(work):
        work = asyncio.create_task(work)
        mine.append(work)
    try:
        await asyncio.wait({*mine, work}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in mine:
            task.cancel()
        await asyncio.wait(mine)


def _bind(server: grpc.aio.Server, settings: ServiceSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    wanted = f"{host}:{settings.port}"
    if settings.tls_certificate_file is None:
        port = server.add_insecure_port(wanted)
    else:
        port = server.add_secure_port(wanted, _credentials(settings))
    return f"{host}:{port}"


def _credentials(settings: ServiceSettings) -> grpc.ServerCredentials:
    pair = (settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())
    client_ca = settings.tls_client_ca_file.read_bytes() if settings.tls_client_ca_file else None
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # Room above the limit, so that a call too many is refused with RetryInfo and does not wait in its client.
        ("grpc.max_concurrent_streams", settings.max_concurrent_calls + 100),
        ("grpc.keepalive_time_ms", int(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.max_connection_age_grace_s * 1000)),
    ]


def _write_atomically(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
