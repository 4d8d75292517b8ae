"""Calls that are passed on to another server: what is left of the caller's deadline, its trace and its tenant go along,
and the caller's leaving ends them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from services.gateway.tenants import door
from services.runtime.boundary import Upstream
from services.runtime.telemetry import traced_metadata
from services.runtime.tenant import METADATA_KEY

Method: TypeAlias = Callable[..., Any]
"""Of a stub, such as `stub.QueryUsage`."""


@dataclass(frozen=True)
class Terms:
    """What goes along with a call that is passed on."""

    deadline: float
    """By the event loop's clock, in seconds."""
    tenant: str

    @classmethod
    def of_call(cls, timeout_s: float) -> "Terms":
        """Of the call that is being answered, which has so many seconds left."""
        return cls(asyncio.get_running_loop().time() + timeout_s, door.identity().tenant)

    @property
    def left_s(self) -> float:
        """Until the deadline, 0 or more."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def options(self) -> dict[str, Any]:
        """As a stub's methods take them, now."""
        return {"timeout": self.left_s, "metadata": (*traced_metadata(), (METADATA_KEY, self.tenant))}


async def answer(method: Method, request: Any, terms: Terms) -> Any:
    """Of a method that answers once; `request` is an async iterator where it takes a stream. Raises Upstream."""
    try:
        return await method(request, **terms.options())
    except grpc.aio.AioRpcError as error:
        raise Upstream(error) from error


async def answers(method: Method, request: Any, terms: Terms) -> AsyncIterator[Any]:
    """Of a method that answers in a stream. Raises Upstream."""
    call = method(request, **terms.options())
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise Upstream(error) from error
    finally:
        call.cancel()
