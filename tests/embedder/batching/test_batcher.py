"""The batcher before a model that notes its batches, and waits or fails as a test has it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.embedder.batching.batcher import Batcher
from services.embedder.batching.worker import Worker
from services.embedder.models.model import EmbeddingModel, Facts, Item, Kind, Vectors
from services.runtime.errors import DeadlineExceeded, Overloaded, Unavailable


class Clock:
    """The loop's, which goes on only as the model computes."""

    def __init__(self) -> None:
        self.now = 0.0
        asyncio.get_running_loop().time = lambda: self.now


class Noting(EmbeddingModel):
    """A text's embedding is its own token ids. Token 13 cannot be embedded.

    With a clock, a batch takes a second, and one more for each token.
    """

    facts = Facts(
        revision="1",
        late_interaction=False,
        dimensions=1,
        max_text_tokens=8,
        resample=Image.Resampling.BICUBIC,
        image_tokens=4,
        media_tokens=4,
    )

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.batches: list[list[tuple[int, ...]]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.lost = False

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        return words(7)

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        return 2, 2

    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        self.batches.append([item.input for item in items])
        self.entered.set()
        assert self.gate.wait(30)
        if self.clock:
            self.clock.now += 1 + len(items) * max(map(self.tokens, items))
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


def words(*tokens: int, bucket: int = 0) -> Item:
    return Item(Kind.TEXT, tokens, bucket)


class Calls(Batcher):
    """With calls as several callers make them."""

    def call(self, model: Noting, *items: Item, patient: bool = False, deadline: float = inf) -> asyncio.Future:
        """All of the items, each in line once the loop has turned."""
        return asyncio.gather(*(self.embed(model, item, patient=patient, deadline=deadline) for item in items))


@asynccontextmanager
async def running(*, max_batch_tokens: int = 1_000) -> AsyncIterator[Calls]:
    worker = Worker()
    batcher = Calls(worker, max_batch_tokens=max_batch_tokens, batch_timeout_s=1e6)
    run = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await worker.stop()


async def test_what_waits_goes_together_once_the_model_is_free() -> None:
    model = Noting()
    async with running() as batcher:
        async with model.busy():
            first = batcher.call(model, words(1))
            await model.begun()
            rest = [batcher.call(model, words(i), words(i + 1)) for i in (2, 4)]
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
            first = batcher.call(model, words(1))
            await model.begun()
            left, stayed = (batcher.call(model, words(i)) for i in (2, 3))
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
            calls = [batcher.call(model, words(i)) for i in (13, 2, 3, 4)]
            await model.begun()
            for left in calls[1:]:
                left.cancel()
            await asyncio.gather(*calls[1:], return_exceptions=True)
        with pytest.raises(RuntimeError):
            await calls[0]
        await batcher.call(model, words(5))
    failed, alone, *proof, last = model.batches
    assert (failed, alone, len(proof), last) == ([(13,), (2,), (3,), (4,)], [(13,)], 2, [(5,)])


@pytest.mark.parametrize("bad", range(5))
async def test_a_failing_batch_fails_the_bad_items_caller_alone(bad: int) -> None:
    model = Noting()
    async with running() as batcher:
        calls = [batcher.call(model, words(13 if i == bad else i)) for i in range(5)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(answer, RuntimeError) for answer in answers] == [i == bad for i in range(5)]
        assert (await batcher.call(model, words(1)))[0].tolist() == [1]
    assert [(7,)] in model.batches  # the proof


async def test_a_model_that_fails_at_its_proof_is_lost_and_every_caller_told() -> None:
    model, worker = Noting(), Worker()
    batcher = Calls(worker, max_batch_tokens=1, batch_timeout_s=60)
    model.lost = True
    calls = [batcher.call(model, words(i)) for i in range(3)]
    with pytest.raises(RuntimeError):
        await batcher.run()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError, Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await batcher.call(model, words(1))
    await worker.stop()


async def test_a_pass_that_does_not_return_loses_the_model() -> None:
    model, worker = Noting(), Worker()
    batcher = Calls(worker, max_batch_tokens=1, batch_timeout_s=0.05)
    async with model.busy():
        calls = [batcher.call(model, words(i)) for i in range(2)]
        with pytest.raises(DeadlineExceeded, match=r"not done within 0\.05 s"):
            await batcher.run()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    await worker.stop()


async def test_each_batch_that_fails_is_told(caplog) -> None:
    model = Noting()
    async with running() as batcher:
        await asyncio.gather(*(batcher.call(model, words(i)) for i in (13, 2)), return_exceptions=True)
    failed = [(record.items, record.error) for record in caplog.records if record.message == "a batch failed"]
    assert failed == [(2, "RuntimeError"), (1, "RuntimeError")]


async def test_models_and_kinds_take_turns_and_share_no_batch() -> None:
    one, other = Noting(), Noting()
    picture = Item(Kind.IMAGE, Image.new("RGB", (2, 2)))
    async with running(max_batch_tokens=4) as batcher:
        async with one.busy():
            calls = [batcher.call(one, words(1, 1, 1))]
            await one.begun()
            calls += [batcher.call(one, *[words(2)] * 8) for _ in range(2)]
            calls += [batcher.call(one, picture)]
            calls += [batcher.call(other, words(3))]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
    assert one.batches[:3] == [[(1, 1, 1)], [(2,)] * 4, [picture.input]]
    assert other.batches == [[(3,)]]


async def test_items_of_different_buckets_share_no_batch() -> None:
    model = Noting()
    async with running() as batcher:
        async with model.busy():
            calls = [batcher.call(model, words(1))]
            await asyncio.sleep(0)
            await model.begun()
            calls += [batcher.call(model, words(i, bucket=i % 2)) for i in range(2, 6)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
    assert model.batches[1:] == [[(2,), (4,)], [(3,), (5,)]]


async def test_the_patient_come_last_but_do_come() -> None:
    model = Noting()
    async with running(max_batch_tokens=1) as batcher:
        async with model.busy():
            calls = [batcher.call(model, words(1))]
            await asyncio.sleep(0)
            await model.begun()
            calls += [batcher.call(model, *[words(2)] * 3, patient=True), batcher.call(model, *[words(3)] * 7)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
    assert [batch[0][0] for batch in model.batches] == [1, 3, 3, 3, 2, 3, 3, 3, 2, 3, 2]


@pytest.fixture
async def paced() -> AsyncIterator[tuple[Calls, Noting]]:
    """A batcher that knows how long its model takes, in batches of at most 4 tokens."""
    model = Noting(Clock())
    async with running(max_batch_tokens=4) as batcher:
        for size in (1, 2, 3):
            await batcher.call(model, words(*[1] * size))
        model.batches.clear()
        yield batcher, model


async def test_what_would_take_longer_than_its_deadline_is_refused_at_once(paced) -> None:
    batcher, model = paced
    async with model.busy():
        first = batcher.call(model, words(1))
        await asyncio.sleep(0)
        await model.begun()
        with pytest.raises(DeadlineExceeded, match=r"it would take 4 s, and 3\.5 s were left"):
            await batcher.call(model, words(1, 1, 1), deadline=model.clock.now + 3.5)
        in_time = batcher.call(model, words(1, 1, 1), deadline=model.clock.now + 6.5)
        await asyncio.sleep(0)
    await asyncio.gather(first, in_time)
    assert model.batches == [[(1,)], [(1, 1, 1)]]


async def test_a_model_that_was_too_slow_is_asked_when_it_is_free(paced) -> None:
    """Else nobody would find out that it is fast again."""
    batcher, model = paced
    (vectors,) = await batcher.call(model, words(1, 1, 1), deadline=model.clock.now + 1)
    assert vectors.tolist() == [1, 1, 1]
    with pytest.raises(DeadlineExceeded):
        await batcher.call(model, words(2), deadline=model.clock.now - 1)
    assert model.batches == [[(1, 1, 1)]]


async def test_one_slow_batch_refuses_nobody() -> None:
    model = Noting(Clock())
    async with running() as batcher:
        async with model.busy():
            held_up = batcher.call(model, words(1))
            await asyncio.sleep(0)
            await model.begun()
            model.clock.now += 60
        await held_up
        async with model.busy():
            first = batcher.call(model, words(2))
            await asyncio.sleep(0)
            await model.begun()
            second = batcher.call(model, words(3), deadline=model.clock.now + 10)
            await asyncio.sleep(0)
        await asyncio.gather(first, second)


async def test_what_would_be_too_late_for_what_waits_is_told_when_to_come_again(paced) -> None:
    """Four seconds for the batch at work, five for what waits and two for itself."""
    batcher, model = paced
    async with model.busy():
        first = batcher.call(model, words(1, 1, 1))
        await asyncio.sleep(0)
        await model.begun()
        waits = batcher.call(model, words(2, 2, 2, 2))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await batcher.call(model, words(3), deadline=model.clock.now + 10)
        in_time = batcher.call(model, words(4), deadline=model.clock.now + 12)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.call(model, words(5), patient=True, deadline=model.clock.now + 10)
    assert caught.value.retry_after_s == pytest.approx(1)
    await asyncio.gather(first, waits, in_time)


async def test_what_can_no_longer_be_done_in_time_is_dropped(paced) -> None:
    batcher, model = paced
    async with model.busy():
        first = batcher.call(model, words(1))
        await asyncio.sleep(0)
        await model.begun()
        late, lax = (batcher.call(model, words(i), deadline=model.clock.now + 5 + i) for i in (1, 30))
        await asyncio.sleep(0)
        model.clock.now += 3  # the batch at work takes longer than was thought
    with pytest.raises(DeadlineExceeded):
        await late
    await asyncio.gather(first, lax)
    assert model.batches == [[(1,)], [(30,)]]


async def test_a_batch_stops_growing_where_one_of_it_would_be_late(paced) -> None:
    batcher, model = paced
    async with model.busy():
        first = batcher.call(model, words(1))
        await asyncio.sleep(0)
        await model.begun()
        calls = [batcher.call(model, words(2), deadline=model.clock.now + 5)]
        calls += [batcher.call(model, words(i)) for i in (3, 4, 5)]
        await asyncio.sleep(0)
    await asyncio.gather(first, *calls)
    assert model.batches == [[(1,)], [(2,), (3,)], [(4,), (5,)]]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 30))
def test_no_batch_exceeds_its_budget_and_no_item_is_lost(lengths: list[int], budget: int) -> None:
    async def batches() -> list[list[tuple[int, ...]]]:
        model = Noting()
        async with running(max_batch_tokens=budget) as batcher:
            vectors = await batcher.call(model, *(words(*[i] * length) for i, length in enumerate(lengths, 20)))
        assert [v[0] for v in vectors] == list(range(20, 20 + len(lengths)))
        return model.batches

    made = asyncio.run(batches())
    assert sum(made, []) == [(i,) * length for i, length in enumerate(lengths, 20)]  # noqa: RUF017
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget for batch in made)
