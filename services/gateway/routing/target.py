"""A model server behind the gateway: its channel, which models it serves now, and what it is working at."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import grpc

from chiasm.v1 import generation_pb2, generation_pb2_grpc, models_pb2
from services.gateway.config import GatewaySettings
from services.gateway.served_models import looks
from services.gateway.target_channel import channel_to
from services.runtime.boundary import Upstream
from services.runtime.telemetry import traced_metadata


class Circuit(Protocol):
    """Whether a target is left alone for a while."""

    def allows(self) -> bool:
        """Whether a call may be made now. Asking changes nothing."""

    @property
    def opens_for_s(self) -> float:
        """Seconds until a call may be made; 0 where one may be made now."""


class Target:
    """One address of a model server, or a name that several replicas of it share."""

    def __init__(
        self,
        address: str,
        settings: GatewaySettings,
        circuit: Circuit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells seconds that only rise."""
        self.address = address
        self.circuit = circuit
        self.models: dict[str, models_pb2.Model] = {}
        """Those that are ready, by name."""
        self.known: dict[str, models_pb2.Model] = {}
        """Every model that it ever listed, ready or not, as it last did."""
        self.others: dict[str, int] = {}
        """By model, calls there that were not this gateway's when the server last told of its load."""
        self.begun = 0
        """Calls, ever."""
        self._refresh_s = settings.refresh_s
        self._clock = clock
        self._working: dict[int, tuple[str, float]] = {}
        self._channel = channel_to(address, settings, service="chiasm.v1.GenerationService")
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._numbers = itertools.count()

    @property
    def outstanding_s(self) -> float:
        """Seconds of work that this gateway's calls there are expected to have left."""
        now = self._clock()
        return sum(max(0.0, done_at - now) for _, done_at in self._working.values())

    def calls_of(self, model: str) -> int:
        """Calls of this gateway that the model of this name has there now."""
        return sum(name == model for name, _ in self._working.values())

    @contextmanager
    def working(self, model: str, work_s: float) -> Iterator[None]:
        """For as long as a call is there; `work_s` is what it takes where no other is ahead of it."""
        number = next(self._numbers)
        self._working[number] = model, self._clock() + work_s
        self.begun += 1
        try:
            yield
        finally:
            del self._working[number]

    async def watch(self, changed: asyncio.Event) -> None:
        """Keep `models` up to date for ever; sets `changed` when another set of them is ready."""
        async for look in looks(self.address, self._channel, self._refresh_s):
            self.models = look.ready
            if look.listed is not None:
                self.known |= look.listed
                # What servers of questions tell as each model's load is the whole server's.
                own, loads = len(self._working), {name: model.load for name, model in look.listed.items()}
                self.others = {name: max(0, load.running + load.waiting - own) for name, load in loads.items()}
            if look.changed:
                changed.set()

    async def stream(
        self,
        request: generation_pb2.GenerateRequest,
        timeout_s: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> AsyncGenerator[generation_pb2.StreamGenerateResponse, None]:
        """The target's events. Closing the iterator cancels the call. Raises Upstream.

        To be read to its end, beyond `finished`: the trailers that say how busy the replica is come last.
        """
        call = self._generation.StreamGenerate(request, timeout=timeout_s, metadata=(*traced_metadata(), *metadata))
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise Upstream(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()
