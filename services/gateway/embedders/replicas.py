"""The embedders that the gateway calls: their channels, and what they serve now."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from chiasm.v1 import (
    classification_pb2_grpc,
    embedding_pb2_grpc,
    errors_pb2,
    models_pb2,
    search_pb2_grpc,
)
from services.gateway.config import GatewaySettings
from services.gateway.served_models import looks
from services.gateway.target_channel import channel_to
from services.runtime.boundary import Upstream
from services.runtime.errors import FailedPrecondition, Unavailable

NO_TARGET = "no embedder is behind this gateway: set CHIASM_GATEWAY_EMBEDDER_TARGETS to its host:port"
# Other reasons are of what it needs itself, such as the index's storage, or of one of its models.
_GONE = (errors_pb2.ERROR_REASON_MODEL_UNAVAILABLE, errors_pb2.ERROR_REASON_SHUTTING_DOWN)


class Replica:
    """One address of an embedder, or a name that several share."""

    def __init__(self, address: str, settings: GatewaySettings) -> None:
        """To be made where the event loop runs."""
        self.models: dict[str, models_pb2.Model] = {}
        """Those that are ready, by name."""
        self.is_lost = False
        """Whether a call did not reach it since it was last seen."""
        self._address = address
        self._refresh_s = settings.refresh_s
        self._channel = channel_to(address, settings, service="chiasm.v1.EmbeddingService")
        self.embedding = embedding_pb2_grpc.EmbeddingServiceStub(self._channel)
        self.search = search_pb2_grpc.SearchServiceStub(self._channel)
        self.classification = classification_pb2_grpc.ClassificationServiceStub(self._channel)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Notes whether it is lost to the block's calls, which raise Upstream."""
        try:
            yield
        except Upstream as error:
            self.is_lost = self.is_lost or (error.code is Unavailable.code and error.reason in _GONE)
            raise

    def rank(self, key: str) -> bytes:
        """Its place for what `key` names among others, the same in each gateway."""
        return blake2b(f"{self._address}\0{key}".encode(), digest_size=8).digest()

    async def watch(self, changed: asyncio.Event) -> None:
        """Keeps `models` up to date, for ever; sets `changed` whenever others are served."""
        async for look in looks(self._address, self._channel, self._refresh_s):
            self.models = look.ready
            if look.listed is not None:
                self.is_lost = False
            if look.changed:
                changed.set()

    async def close(self) -> None:
        await self._channel.close()


class Replicas:
    """Those of the settings. Each has the same collections, and sees at once what it stored itself, later what others
    did."""

    def __init__(self, settings: GatewaySettings) -> None:
        """To be made where the event loop runs."""
        self._all = [Replica(address, settings) for address in settings.embedder_targets]
        self._turns = itertools.count()

    @property
    def models(self) -> dict[str, models_pb2.Model]:
        """Every model served now, by name; the first replica wins where several serve the same."""
        return {name: model for replica in reversed(self._all) for name, model in replica.models.items()}

    def in_order(self, key: str = "") -> list[Replica]:
        """Whom to ask, the first one first: those that are ready, or all where none is known to be.

        Args:
            key: what must be asked of the same one each time, as long as that one is there: a collection, which another
                sees only so late. Where it is empty they take turns.

        Raises FailedPrecondition where there is none in the settings.
        """
        if not self._all:
            raise FailedPrecondition(NO_TARGET, reason=errors_pb2.ERROR_REASON_SEARCH_NOT_CONFIGURED)
        ready = [replica for replica in self._all if replica.models] or self._all
        able = [replica for replica in ready if not replica.is_lost] or ready
        if key:
            return sorted(able, key=lambda replica: replica.rank(key))
        first = next(self._turns) % len(able)
        return able[first:] + able[:first]

    async def watch(self, changed: asyncio.Event) -> None:
        """Looks at all of them, for ever; `changed` is set whenever one serves others."""
        async with asyncio.TaskGroup() as group:
            for replica in self._all:
                group.create_task(replica.watch(changed), name="watch an embedder")

    async def close(self) -> None:
        for replica in self._all:
            await replica.close()
