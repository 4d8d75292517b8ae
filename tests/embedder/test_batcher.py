"""The batcher before a model that notes its batches, and waits or fails as a test has it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.embedder.batching.batcher import Batcher
from services.embedder.batching.worker import Worker
from services.embedder.models.model import EmbeddingModel, Facts, Item, Kind, Vectors
from services.runtime.errors import Overloaded, Unavailable


class Noting(EmbeddingModel):
    """A text's embedding is its own token ids. Token 13 cannot be embedded."""

    facts = Facts(
        revision="1",
        late_interaction=False,
        dimensions=1,
        max_text_tokens=8,
        image_size=2,
        resample=Image.Resampling.BICUBIC,
        image_tokens=4,
        media_tokens=4,
    )

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, ...]]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.lost = False

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        return words(7)

    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        self.batches.append([item.input for item in items])
        self.entered.set()
        assert self.gate.wait(30)
        if self.lost or any(item.kind is Kind.TEXT and 13 in item.input for item in items):
            raise RuntimeError("no embedding for 13")
        return [np.array(item.input if item.kind is Kind.TEXT else (), np.float32) for item in items]

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """While entered, a batch that has begun does not end."""
        self.gate.clear()
        self.entered.clear()
        yield
        self.gate.set()

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 30)


def words(*tokens: int) -> Item:
    return Item(Kind.TEXT, tokens)


@asynccontextmanager
async def running(*, max_batch_tokens: int = 1_000, max_queued_tokens: int = 1_000) -> AsyncIterator[Batcher]:
    worker = Worker()
    batcher = Batcher(worker, max_batch_tokens=max_batch_tokens, max_queued_tokens=max_queued_tokens)
    run = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        worker.stop()


async def test_what_waits_goes_together_once_the_model_is_free() -> None:
    model = Noting()
    async with running() as batcher:
        async with model.busy():
            first = asyncio.create_task(batcher.embed(model, [words(1)]))
            await model.begun()
            rest = [asyncio.create_task(batcher.embed(model, [words(i), words(i + 1)])) for i in (2, 4)]
            await asyncio.sleep(0)
            assert (batcher.running(model), batcher.waiting(model)) == (1, 4)
        assert [[v.tolist() for v in vectors] for vectors in await asyncio.gather(first, *rest)] == [
            [[1]],
            [[2], [3]],
            [[4], [5]],
        ]
    assert model.batches == [[(1,)], [(2,), (3,), (4,), (5,)]]


async def test_an_item_whose_caller_has_left_is_dropped() -> None:
    model = Noting()
    async with running() as batcher:
        async with model.busy():
            first = asyncio.create_task(batcher.embed(model, [words(1)]))
            await model.begun()
            left, stayed = (asyncio.create_task(batcher.embed(model, [words(i)])) for i in (2, 3))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            assert batcher.waiting(model) == 1
        await asyncio.gather(first, stayed)
    assert model.batches == [[(1,)], [(3,)]]


async def test_items_whose_caller_leaves_a_failing_batch_are_dropped_from_its_halves() -> None:
    model = Noting()
    async with running() as batcher:
        async with model.busy():
            calls = [asyncio.create_task(batcher.embed(model, [words(i)])) for i in (13, 2, 3, 4)]
            await model.begun()
            for left in calls[1:]:
                left.cancel()
            await asyncio.gather(*calls[1:], return_exceptions=True)
        with pytest.raises(RuntimeError):
            await calls[0]
        await batcher.embed(model, [words(5)])
    failed, alone, *proof, last = model.batches
    assert (failed, alone, len(proof), last) == ([(13,), (2,), (3,), (4,)], [(13,)], 2, [(5,)])


@pytest.mark.parametrize("bad", range(5))
async def test_a_failing_batch_fails_the_bad_items_caller_alone(bad: int) -> None:
    model = Noting()
    async with running() as batcher:
        calls = [batcher.embed(model, [words(13 if i == bad else i)]) for i in range(5)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(answer, RuntimeError) for answer in answers] == [i == bad for i in range(5)]
        assert (await batcher.embed(model, [words(1)]))[0].tolist() == [1]
    assert [(7,)] in model.batches  # the proof


async def test_a_model_that_fails_at_its_proof_is_lost_and_every_caller_told() -> None:
    model, worker = Noting(), Worker()
    batcher = Batcher(worker, max_batch_tokens=1, max_queued_tokens=100)
    model.lost = True
    calls = [asyncio.create_task(batcher.embed(model, [words(i)])) for i in range(3)]
    with pytest.raises(RuntimeError):
        await batcher.run()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError, Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await batcher.embed(model, [words(1)])
    worker.stop()


async def test_models_and_kinds_take_turns_and_share_no_batch() -> None:
    one, other = Noting(), Noting()
    picture = Item(Kind.IMAGE, Image.new("RGB", (2, 2)))
    async with running(max_batch_tokens=4) as batcher:
        async with one.busy():
            calls = [asyncio.create_task(batcher.embed(one, [words(1, 1, 1)]))]
            await one.begun()
            calls += [asyncio.create_task(batcher.embed(one, [words(2)] * 8)) for _ in range(2)]
            calls += [asyncio.create_task(batcher.embed(one, [picture]))]
            calls += [asyncio.create_task(batcher.embed(other, [words(3)]))]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
    assert one.batches[:3] == [[(1, 1, 1)], [(2,)] * 4, [picture.input]]
    assert other.batches == [[(3,)]]


async def test_room_is_bounded_but_one_request_always_fits() -> None:
    async with running(max_queued_tokens=10) as batcher:
        with batcher.room(50), pytest.raises(Overloaded) as caught, batcher.room(1):
            pass
        assert caught.value.retry_after_s
        with batcher.room(4), batcher.room(6), pytest.raises(Overloaded), batcher.room(1):
            pass
        with batcher.room(10):
            pass


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 30))
def test_no_batch_exceeds_its_budget_and_no_item_is_lost(lengths: list[int], budget: int) -> None:
    async def batches() -> list[list[tuple[int, ...]]]:
        model = Noting()
        async with running(max_batch_tokens=budget) as batcher:
            vectors = await batcher.embed(model, [words(*[i] * length) for i, length in enumerate(lengths, 20)])
        assert [v[0] for v in vectors] == list(range(20, 20 + len(lengths)))
        return model.batches

    made = asyncio.run(batches())
    assert sum(made, []) == [(i,) * length for i, length in enumerate(lengths, 20)]  # noqa: RUF017
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget for batch in made)
