"""What another server says that it serves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc

from chiasm.v1 import models_pb2, models_pb2_grpc

logger = logging.getLogger(__name__)

LIST_TIMEOUT_S = 5.0
# Said by a server that is there, but has more to do than it can.
_BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Look:
    """At what a server serves."""

    listed: dict[str, models_pb2.Model] | None
    """Every model that it lists, by name; None where it did not answer."""
    ready: dict[str, models_pb2.Model]
    """Those that are ready; the same as before where it is only busy."""
    changed: bool
    """Whether others were ready before."""


async def looks(address: str, channel: grpc.aio.Channel, every_s: float) -> AsyncIterator[Look]:
    """For ever; `address` is for the log."""
    stub = models_pb2_grpc.ModelServiceStub(channel)
    ready: dict[str, models_pb2.Model] = {}
    while True:
        before, listed = ready, None
        try:
            listed = await _listed(stub)
            ready = {name: model for name, model in listed.items() if model.ready}
        except grpc.aio.AioRpcError as error:
            logger.debug("server does not answer", extra={"target": address, "status": error.code().name})
            if error.code() not in _BUSY:
                ready = {}
        changed = ready.keys() != before.keys()
        if changed:
            logger.info("other models are served", extra={"target": address, "models": sorted(ready)})
        yield Look(listed, ready, changed)
        await asyncio.sleep(every_s)


async def _listed(stub: models_pb2_grpc.ModelServiceStub) -> dict[str, models_pb2.Model]:
    models: dict[str, models_pb2.Model] = {}
    request = models_pb2.ListModelsRequest()
    while True:
        page = await stub.ListModels(request, timeout=LIST_TIMEOUT_S)
        models |= {model.name: model for model in page.models}
        if not page.next_page_token:
            return models
        request.page_token = page.next_page_token
