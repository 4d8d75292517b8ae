"""Many items through streams of calls, each answered by its own outcome, in any order.

A server honours deadlines of some minutes alone, and what is fed may take hours: a stream is fed for half of its time,
ended, and followed by another.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from chiasm.errors import ChiasmError, Internal, rpc_errors

STREAM_S = 300.0
"""Seconds that one stream may take."""
FED_SHARE = 0.5
"""Of its time, that in which a stream is fed. It takes an item at least, and items may not take longer to come."""
MOST_REFUSALS = 1_000
"""Items without a request that a stream has at most: they are told of as it answers, or ends."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Feed(Generic[Item, Outcome]):
    """The items on their way through the streams.

    Args:
        first: what each stream begins with.
        request_of: an item's request. Raises OSError or ChiasmError where there is none.
        outcome_of: of a response, and the number of its item among all.
        refusal_of: of an item without a request, its number and why.
        stream_s: seconds that one stream may take.
    """

    def __init__(
        self,
        first: Message,
        request_of: Callable[[Item], Message],
        outcome_of: Callable[[Message, int], Outcome],
        refusal_of: Callable[[Item, int, OSError | ChiasmError], Outcome],
        *,
        stream_s: float,
    ) -> None:
        self.more = True
        """Whether another stream is to follow."""
        self.failure: Exception | None = None
        """What the items raised, if anything. gRPC hides what its requests raise, so that it is kept here."""
        self.stream_s = stream_s
        self._first = first
        self._request_of = request_of
        self._outcome_of = outcome_of
        self._refusal_of = refusal_of
        self._refusals: deque[Outcome] = deque()  # not told of yet
        self._count = 0
        self._sent: list[int] = []  # the numbers of the items of the stream, as they were sent

    def requests(self, items: Iterator[Item]) -> Iterator[Message]:
        """Of the next stream."""
        yield self._begin()
        ends = time.monotonic() + self.stream_s * FED_SHARE
        while self.more:
            try:
                request = self._request(next(items))
            except StopIteration:
                self.more = False
                return
            except Exception as error:  # noqa: BLE001 - raised again where the outcomes are read
                self._fail(error)
                return
            if request is not None:
                yield request
            if time.monotonic() >= ends or len(self._refusals) >= MOST_REFUSALS:
                return

    async def requests_async(self, items: AsyncIterator[Item]) -> AsyncIterator[Message]:
        """Of the next stream."""
        yield self._begin()
        ends = time.monotonic() + self.stream_s * FED_SHARE
        while self.more:
            try:
                request = await asyncio.to_thread(self._request, await anext(items))
            except StopAsyncIteration:
                self.more = False
                return
            except Exception as error:  # noqa: BLE001 - raised again where the outcomes are read
                self._fail(error)
                return
            if request is not None:
                yield request
            if time.monotonic() >= ends or len(self._refusals) >= MOST_REFUSALS:
                return

    def outcomes(self, response: Message | None) -> Iterator[Outcome]:
        """Of a response, and of what was refused since the one before. Raises Internal where it is of no item."""
        while self._refusals:
            yield self._refusals.popleft()
        if response is not None:
            if not 0 <= response.index < len(self._sent):
                raise Internal("the server answered an item that it was not sent", reason="INTERNAL")
            yield self._outcome_of(response, self._sent[response.index])

    def _begin(self) -> Message:
        self._sent = []
        return self._first

    def _fail(self, error: Exception) -> None:
        self.failure, self.more = error, False

    def _request(self, item: Item) -> Message | None:
        number, self._count = self._count, self._count + 1
        try:
            request = self._request_of(item)
        except (OSError, ChiasmError) as error:
            self._refusals.append(self._refusal_of(item, number, error))
            return None
        self._sent.append(number)
        return request


def streamed(
    method: Callable[..., grpc.Call], items: Iterable[Item], feed: Feed[Item, Outcome], metadata: object
) -> Iterator[Outcome]:
    """The outcomes of all items, which gRPC reads in a thread of its own, as fast as the server takes them.

    Raises a ChiasmError when a stream fails, and what `items` raise. Items not answered by then may be given again.
    """
    remaining = iter(items)
    while feed.more:
        call = method(feed.requests(remaining), timeout=feed.stream_s, metadata=metadata)
        try:
            with rpc_errors():
                for response in call:
                    yield from feed.outcomes(response)
        finally:
            call.cancel()
        yield from feed.outcomes(None)
    if feed.failure:
        raise feed.failure


async def streamed_async(
    method: Callable[..., grpc.aio.StreamStreamCall],
    items: AsyncIterable[Item] | Iterable[Item],
    feed: Feed[Item, Outcome],
    metadata: object,
) -> AsyncIterator[Outcome]:
    """The outcomes of all items, which are read as fast as the server takes them.

    Raises a ChiasmError when a stream fails, and what `items` raise. Items not answered by then may be given again.
    """
    remaining = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
    while feed.more:
        call = method(feed.requests_async(remaining), timeout=feed.stream_s, metadata=metadata)
        try:
            with rpc_errors():
                async for response in call:
                    for outcome in feed.outcomes(response):
                        yield outcome
        finally:
            call.cancel()
        for outcome in feed.outcomes(None):
            yield outcome
    if feed.failure:
        raise feed.failure


async def _each(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item
