"""Items of many callers through the models together: a batch goes whenever the worker is free, no timer.

As huggingface/text-embeddings-inference does it: a batch is bounded in tokens, padding included, and items whose
caller leaves are dropped.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from chiasm.v1.errors_pb2 import ERROR_REASON_ENGINE_FAILED
from services.embedder.batching.worker import Worker
from services.embedder.models.model import EmbeddingModel, Item, Kind, Vectors
from services.runtime.errors import Overloaded, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Entry:
    item: Item
    result: asyncio.Future[Vectors]


class Batcher:
    """Has a queue for each model and kind of item, served in turn. `run` must run for `embed` to return."""

    def __init__(self, worker: Worker, *, max_batch_tokens: int, max_queued_tokens: int) -> None:
        self._worker = worker
        self._max_batch_tokens = max_batch_tokens
        self._max_queued_tokens = max_queued_tokens
        self._queued_tokens = 0
        self._queues: dict[tuple[EmbeddingModel, Kind], deque[_Entry]] = {}
        self._batch: tuple[EmbeddingModel | None, list[_Entry]] = None, []
        self._filled = asyncio.Event()
        self._failed = False

    @contextmanager
    def room(self, tokens: int) -> Iterator[None]:
        """Holds room for `tokens` in the queue. A request that is larger than the queue is taken into an empty one.

        Raises Overloaded when there is none.
        """
        if self._queued_tokens and self._queued_tokens + tokens > self._max_queued_tokens:
            raise Overloaded(f"{self._queued_tokens:,} tokens wait to be embedded; with {tokens:,} more it is too many")
        self._queued_tokens += tokens
        try:
            yield
        finally:
            self._queued_tokens -= tokens

    async def embed(self, model: EmbeddingModel, items: Sequence[Item]) -> list[Vectors]:
        """The items' embeddings, in their order. Cancelling it drops those that are in no batch yet.

        Raises what the model raised over one of these items, and Unavailable when the model is lost.
        """
        if self._failed:
            raise _lost()
        results = []
        for item in items:
            entry = _Entry(item, asyncio.get_running_loop().create_future())
            self._queues.setdefault((model, item.kind), deque()).append(entry)
            results.append(entry.result)
        self._filled.set()
        try:
            return await asyncio.gather(*results)
        except BaseException:
            self._drop(results)
            raise

    async def run(self) -> NoReturn:
        """Makes batches for ever. Raises what a model raises when it fails even at its proof; every caller is told."""
        try:
            while True:
                await self._filled.wait()
                while self._queues:
                    self._batch = self._next_batch()
                    await self._embed(*self._batch)
                    self._batch = None, []
                self._filled.clear()
        finally:
            self._failed = True
            for entries in (self._batch[1], *self._queues.values()):
                for entry in entries:
                    _settle(entry, _lost())

    def running(self, model: EmbeddingModel) -> int:
        """Items of `model` in the batch that is computed now."""
        return len(self._batch[1]) if self._batch[0] is model else 0

    def waiting(self, model: EmbeddingModel) -> int:
        """Items of `model` that wait."""
        return sum(len(queue) for (owner, _), queue in self._queues.items() if owner is model)

    def _next_batch(self) -> tuple[EmbeddingModel, list[_Entry]]:
        """From the queue whose turn it is; of one item or more."""
        key = model, _ = next(iter(self._queues))
        queue = self._queues.pop(key)
        batch: list[_Entry] = []
        longest = 0
        while queue:
            longest = max(longest, model.tokens(queue[0].item))
            if batch and longest * (len(batch) + 1) > self._max_batch_tokens:
                break
            batch.append(queue.popleft())
        if queue:
            self._queues[key] = queue  # behind the others
        return model, batch

    def _drop(self, results: Sequence[asyncio.Future[Vectors]]) -> None:
        """At once, not when their turn comes: what waits stays within the room that is held for it."""
        for result in results:
            result.cancel()
        left = {key: deque(e for e in queue if not e.result.done()) for key, queue in self._queues.items()}
        self._queues = {key: queue for key, queue in left.items() if queue}

    async def _embed(self, model: EmbeddingModel, batch: list[_Entry]) -> None:
        """A batch that fails is halved until the item that fails is alone; those whose caller has left are dropped."""
        batch = [entry for entry in batch if not entry.result.done()]
        if not batch:
            return
        try:
            vectors = await self._worker.run(model.embed, [entry.item for entry in batch])
        except Exception as error:  # noqa: BLE001 - it is given to the caller whose item it is
            if len(batch) == 1:
                _settle(batch[0], error)
        else:
            for entry, result in zip(batch, vectors, strict=True):
                _settle(entry, result)
            return
        # Not in the `except` block: its traceback holds the tensors of the failed pass, which may have filled the GPU.
        if len(batch) == 1:
            logger.warning("an item could not be embedded; the model is proved anew")
            await self._worker.run(model.prove)
        else:
            middle = len(batch) // 2
            await self._embed(model, batch[:middle])
            await self._embed(model, batch[middle:])


def _settle(entry: _Entry, result: Vectors | Exception) -> None:
    if entry.result.done():
        return
    if isinstance(result, Exception):
        entry.result.set_exception(result)
    else:
        entry.result.set_result(result)


def _lost() -> Unavailable:
    return Unavailable("the model failed; try again", reason=ERROR_REASON_ENGINE_FAILED)
