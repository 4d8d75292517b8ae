"""Items of many callers through the models together: a batch goes whenever the worker is free, no timer.

As huggingface/text-embeddings-inference does it: a batch is bounded in tokens, padding included, and items whose
caller leaves are dropped. An item that cannot be done by its deadline, as the times of earlier batches tell, is refused
at once, and dropped from its line when that shows later.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Hashable
from typing import NoReturn

from chiasm.v1.errors_pb2 import ERROR_REASON_ENGINE_FAILED
from services.embedder.batching.lines import Entry, Lane, Lines
from services.embedder.batching.time_model import TimeModel
from services.embedder.batching.worker import Worker
from services.embedder.models.model import EmbeddingModel, Item, Kind, Vectors
from services.runtime.deadline import within
from services.runtime.errors import DeadlineExceeded, Overloaded, Unavailable

logger = logging.getLogger(__name__)


class Batcher:
    """`run` must run for `embed` to return. How much may wait is for its callers to bound."""

    def __init__(self, worker: Worker, *, max_batch_tokens: int, batch_timeout_s: float) -> None:
        """`batch_timeout_s` is after what a pass through a model that has not returned counts as lost."""
        self._worker = worker
        self._max_batch_tokens = max_batch_tokens
        self._batch_timeout_s = batch_timeout_s
        self._lines = Lines()
        self._times: defaultdict[tuple[EmbeddingModel, Kind, Hashable], TimeModel] = defaultdict(TimeModel)
        self._batch: list[Entry] = []
        self._batch_model: EmbeddingModel | None = None
        self._batch_done_at = 0.0
        self._filled = asyncio.Event()
        self._failed = False

    async def embed(self, model: EmbeddingModel, item: Item, *, patient: bool, deadline: float) -> Vectors:
        """The item's embedding. Cancelling it drops the item if it is in no batch yet.

        Args:
            patient: whether the items of callers who are not go first; some patient ones always go between them.
            deadline: of the loop's clock; nothing ends the wait when it passes.

        Raises DeadlineExceeded where it cannot be met, Overloaded where it could if less waited, what the model raised
        over this item, and Unavailable when the model is lost.
        """
        if self._failed:
            raise _lost()
        lane = Lane(model, item.kind, item.bucket, patient)
        entry = Entry(item, model.tokens(item), deadline, asyncio.get_running_loop().create_future())
        self.check(lane, entry.tokens, deadline)
        self._lines.add(lane, entry)
        self._filled.set()
        try:
            return await entry.result
        finally:
            self._lines.remove(lane, entry)

    def check(self, lane: Lane, tokens: int, deadline: float) -> None:
        """Of what would join the lane now. Raises DeadlineExceeded and Overloaded as `embed` does."""
        if not self._batch and not self._lines.tokens(lane):
            return  # else a lane that was too slow once would never be measured again
        now = asyncio.get_running_loop().time()
        left = deadline - now
        alone = self._seconds(lane, tokens, now)
        if alone > left:
            raise DeadlineExceeded(f"it would take {alone:.3g} s, and {max(left, 0):.3g} s were left")
        late = self._seconds_until_done(lane, tokens, now) - left
        if late > 0:
            raise Overloaded(f"behind what waits it would be done {late:.3g} s after the deadline", retry_after_s=late)

    async def run(self) -> NoReturn:
        """Makes batches for ever; when it ends, every caller is told.

        Raises what a model raises when it fails even at its proof, and DeadlineExceeded when a pass does not return.
        """
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while lane := self._lines.turn():
                    self._batch, self._batch_model = self._next_batch(lane), lane.model
                    await self._embed(lane, self._batch)
                    self._batch, self._batch_model = [], None
        finally:
            self._failed = True
            for entry in (*self._batch, *self._lines.clear()):
                _settle(entry, _lost())

    def running(self, model: EmbeddingModel) -> int:
        """Items of `model` in the batch that is computed now."""
        return len(self._batch) if self._batch_model is model else 0

    def waiting(self, model: EmbeddingModel) -> int:
        """Items of `model` that wait."""
        return self._lines.waiting(model)

    def _seconds_until_done(self, lane: Lane, tokens: int, now: float) -> float:
        """Of `tokens` that join the lane: behind its line, and behind as many turns of the others as that takes."""
        tokens += self._lines.tokens(lane)
        turns = -(-tokens // self._max_batch_tokens)
        seconds = max(self._batch_done_at - now, 0) if self._batch else 0.0
        for other, waiting in self._lines:
            if other != lane and (lane.patient or not other.patient):
                seconds += self._seconds(other, min(waiting, turns * self._max_batch_tokens), now)
        return seconds + self._seconds(lane, tokens, now)

    def _seconds(self, lane: Lane, tokens: int, now: float) -> float:
        """That the lane's model takes for `tokens`, in as many batches as they need."""
        return self._time_of(lane).predict(tokens, now, batches=-(-tokens // self._max_batch_tokens))

    def _time_of(self, lane: Lane) -> TimeModel:
        return self._times[lane.model, lane.kind, lane.bucket]

    def _next_batch(self, lane: Lane) -> list[Entry]:
        """From the lane's line; empty where no item of it can be done in time."""
        now = asyncio.get_running_loop().time()
        batch: list[Entry] = []
        longest, tightest = 0, float("inf")
        while entry := self._lines.first(lane):
            tokens = max(longest, entry.tokens) * (len(batch) + 1)
            if batch and tokens > self._max_batch_tokens:
                break
            done_at = now + self._time_of(lane).predict(tokens, now)
            if done_at > tightest:
                break
            self._lines.remove(lane, entry)
            alone = not batch and self._lines.first(lane) is None  # nobody of the lane is kept waiting by a trial
            if (now if alone else done_at) > entry.deadline:  # behind this batch it would be done later still
                _settle(entry, DeadlineExceeded("it could no longer be done in time: too much went before it"))
                continue
            batch.append(entry)
            longest, tightest = max(longest, entry.tokens), min(tightest, entry.deadline)
        return batch

    async def _embed(self, lane: Lane, batch: list[Entry]) -> None:
        """A batch that fails is halved until the item that fails is alone; those whose caller has left are dropped."""
        batch = [entry for entry in batch if not entry.result.done()]
        if not batch:
            return
        loop = asyncio.get_running_loop()
        begun, tokens = loop.time(), max(entry.tokens for entry in batch) * len(batch)
        self._batch_done_at = begun + self._time_of(lane).predict(tokens, begun)
        async with within(self._batch_timeout_s):
            try:
                vectors = await self._worker.run(lane.model.embed, [entry.item for entry in batch])
            except Exception as error:  # noqa: BLE001 - it is given to the caller whose item it is
                logger.warning("a batch failed", extra={"items": len(batch), "error": type(error).__name__})
                if len(batch) == 1:
                    _settle(batch[0], error)
            else:
                self._time_of(lane).observe(tokens, loop.time() - begun, loop.time())
                for entry, result in zip(batch, vectors, strict=True):
                    _settle(entry, result)
                return
        if len(batch) == 1:
            async with within(self._batch_timeout_s):
                await self._worker.run(lane.model.prove)
        else:
            middle = len(batch) // 2
            await self._embed(lane, batch[:middle])
            await self._embed(lane, batch[middle:])


def _settle(entry: Entry, result: Vectors | Exception) -> None:
    if entry.result.done():
        return
    if isinstance(result, Exception):
        entry.result.set_exception(result)
    else:
        entry.result.set_result(result)


def _lost() -> Unavailable:
    return Unavailable("the model failed; try again", reason=ERROR_REASON_ENGINE_FAILED)
