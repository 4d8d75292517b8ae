"""Streams of answer events, as every GenerationService handles them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar

from chiasm.v1 import generation_pb2
from services.runtime.errors import DeadlineExceeded

T = TypeVar("T")


async def each_within(seconds: float, items: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """The items, all of which must come within `seconds` from now; closes `items` at the end.

    Only the waits are bounded, never what the consumer does between two items: a timeout that
    spans a `yield` would cancel the consumer instead of ending the wait.
    Raises DeadlineExceeded.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    async with aclosing(items):
        while True:
            try:
                async with asyncio.timeout_at(deadline) as scope:
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if scope.expired():
                    raise DeadlineExceeded(f"the answer was not complete within {seconds:.3g} s") from None
                raise
            yield item


async def collect(
    events: AsyncIterator[generation_pb2.StreamGenerateResponse],
) -> generation_pb2.GenerateResponse:
    """The whole answer of a stream; what a superseded attempt said is dropped."""
    response = generation_pb2.GenerateResponse()
    texts: list[str] = []
    async with aclosing(events):
        async for event in events:
            match event.WhichOneof("event"):
                case "started":
                    response.model, response.request_id = event.started.model, event.started.request_id
                case "delta":
                    texts.append(event.delta.text)
                case "superseded":
                    texts.clear()
                case "finished":
                    response.finished.CopyFrom(event.finished)
    response.text = "".join(texts)
    return response
