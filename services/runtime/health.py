"""The standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).

The reference servicer of grpcio-health-checking is not used: its `Watch` never ends by itself, so that one watcher
holds up a drain until the grace period is over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.errors import Unavailable

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService(health_pb2_grpc.HealthServicer):
    """`""` is liveness: SERVING for as long as the process answers. Each service's name is its readiness."""

    def __init__(self, names: Iterable[str]) -> None:
        self._statuses = {"": SERVING} | dict.fromkeys(names, NOT_SERVING)
        self._changed = asyncio.Event()
        self._frozen = False
        self._closed = False

    def set_ready(self, names: Iterable[str], ready: bool) -> None:
        """Sets the readiness of `names` and tells the watchers. Without effect once frozen."""
        if not self._frozen:
            self._statuses |= dict.fromkeys(names, SERVING if ready else NOT_SERVING)
            self._tell_watchers()

    def freeze(self) -> None:
        """Nothing is ready from now on; liveness stays."""
        self.set_ready(self._statuses.keys() - {""}, False)
        self._frozen = True

    def close(self) -> None:
        """Ends the watches, each after it has sent the last change."""
        self._closed = True
        self._tell_watchers()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        sent = None
        while True:
            changed, closed = self._changed, self._closed
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != sent:
                yield health_pb2.HealthCheckResponse(status=status)
                sent = status
            if closed:
                raise Unavailable("the server is shutting down")
            await changed.wait()

    def _tell_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Readiness:
    """What a service says of itself: whether it can answer calls now. It governs the names the service gave."""

    def __init__(self, health: HealthService, names: tuple[str, ...]) -> None:
        self._health = health
        self._names = names
        self.withheld = ""
        """Why the service will not be ready however long one waits; empty where it will."""

    def set(self, ready: bool, names: Iterable[str] | None = None) -> None:
        """Turns readiness on or off, of all the service's names or of some; without effect while the server drains."""
        self._health.set_ready(self._names if names is None else names, ready)

    def withhold(self, reason: str) -> None:
        """The service starts, and an operator has to act before it can be ready. To be called in `start`."""
        self.withheld = reason
