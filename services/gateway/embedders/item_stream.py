"""Streams of items on their way to an embedder, each of which has an outcome of its own.

The caller's stream waits until the embedder takes an item, and the embedder until the caller reads an outcome: of each
direction one message is held here. An item that the gateway itself refuses, as for an upload that is not there, is
answered by its error, and the others go on; so what the embedder counts is renumbered.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from services.runtime.boundary import Upstream
from services.runtime.errors import Aborted, ChiasmError, to_status
from services.runtime.together import together

Take: TypeAlias = Callable[[Message], AbstractAsyncContextManager[Message]]
"""Makes a request fit to be passed on, while the block runs. Raises a ChiasmError."""
Refuse: TypeAlias = Callable[[Message, int, AnyMessage], Message]
"""The outcome of the item in a request, which is number so and so, with its error."""


@dataclass(frozen=True)
class _End:
    """Nothing follows."""

    error: Exception | None


class ItemStream:
    """Args:
    call: to the embedder, begun without requests.
    item: the field of a request that has its item; it may be absent from the first request.
    take: of requests that have an item.
    refuse: of those that `take` raises at.
    """

    def __init__(self, call: grpc.aio.StreamStreamCall, item: str, take: Take, refuse: Refuse) -> None:
        self._call = call
        self._item = item
        self._take = take
        self._refuse = refuse
        self._numbers: dict[int, int] = {}  # of items under way: the embedder's to the caller's
        self._outcomes: asyncio.Queue[Message | _End] = asyncio.Queue(1)

    async def outcomes(self, requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        """As they come. Raises Upstream, and what `requests` raises; closing it ends the call."""
        passing = asyncio.create_task(self._pass(requests))
        try:
            while not isinstance(outcome := await self._outcomes.get(), _End):
                yield outcome
            if outcome.error:
                raise outcome.error
        finally:
            self._call.cancel()
            passing.cancel()
            await asyncio.wait({passing})

    async def _pass(self, requests: AsyncIterator[Message]) -> None:
        error = None
        try:
            await together(self._send(requests), self._receive())
        except Exception as failure:  # noqa: BLE001 - raised where the outcomes are read
            error = failure
        await self._outcomes.put(_End(error))

    async def _send(self, requests: AsyncIterator[Message]) -> None:
        seen = passed = 0
        async for number, request in _numbered(requests):
            if not request.HasField(self._item):
                await self._write(request)
                continue
            try:
                async with self._take(request) as taken:
                    self._numbers[passed] = seen
                    passed += 1
                    await self._write(taken)
            except ChiasmError as error:
                packed = AnyMessage()
                packed.Pack(to_status(error))
                await self._outcomes.put(self._refuse(request, seen, packed))
                if number == 0:
                    request.ClearField(self._item)
                    await self._write(request)
            seen += 1
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.done_writing()

    async def _write(self, request: Message) -> None:
        # Where the call has ended, `_receive` says how.
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.write(request)

    async def _receive(self) -> None:
        try:
            async for outcome in self._call:
                outcome.index = self._number(outcome.index)
                await self._outcomes.put(outcome)
        except grpc.aio.AioRpcError as error:
            raise Upstream(error) from error

    def _number(self, index: int) -> int:
        if index not in self._numbers:
            raise Aborted("the embedder's answer could not be read")
        return self._numbers.pop(index)


async def _numbered(requests: AsyncIterator[Any]) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for request in requests:
        yield number, request
        number += 1
