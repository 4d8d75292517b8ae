"""Single items, as search and indexing ask for them."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.embedder.batching.cache import EmbeddedItem
from services.embedder.embedding import Embedded, Media, Question, Text
from services.embedder.models.model import Item, Vectors
from services.runtime.errors import DeadlineExceeded, InvalidArgument, Overloaded
from services.runtime.media import DECODERS
from tests.embedder import reference
from tests.embedder.standing import Standing, standing
from tests.pictures import scene_png

STAR, MOON = Text("star", "query.text"), Text("moon", "query.text")


async def embed(
    at: Standing, item: Text | Media, *, patient: bool = False, within_s: float = 60, document: bool = False
) -> EmbeddedItem:
    deadline = asyncio.get_running_loop().time() + within_s
    return await at.embedder.embed_item(at.served, item, document=document, patient=patient, deadline=deadline)


async def test_an_item_is_embedded_as_transformers_does_it(siglip: Path) -> None:
    async with standing(siglip) as at:
        answers = await asyncio.gather(
            *(embed(at, STAR, patient=patient) for patient in (False, True) for _ in range(3))
        )
    for answer in answers:
        np.testing.assert_allclose(answer.vectors, reference.siglip_texts(siglip, ["star"])[0], atol=2e-5)
        assert (answer.tokens, answer.media_tokens) == (at.served.model.facts.max_text_tokens, 0)


@pytest.mark.parametrize("patient", [False, True])
async def test_a_bad_item_is_named(siglip: Path, patient: bool) -> None:
    async with standing(siglip) as at:
        for item in (Text(" ", "query.text"), Media(b"no picture", "query.image.data", "")):
            with pytest.raises(InvalidArgument) as caught:
                await embed(at, item, patient=patient)
            assert caught.value.field == item.field


async def test_the_impatient_are_refused_where_the_patient_wait_until_their_deadline(siglip: Path) -> None:
    async with standing(siglip, running=False, max_queued_tokens=1, max_batch_tokens=1) as at:
        waiting = [asyncio.create_task(embed(at, STAR, patient=patient)) for patient in (False, True)]
        with pytest.raises(DeadlineExceeded):
            await embed(at, MOON, patient=True, within_s=0.2)
        with pytest.raises(Overloaded):
            await embed(at, MOON)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        with pytest.raises(DeadlineExceeded):  # there is room again, and nobody who embeds
            await embed(at, MOON, within_s=0.2)


async def test_what_is_known_needs_neither_room_nor_the_model(siglip: Path) -> None:
    _, png = scene_png()
    items = [STAR, Media(png, "image", ""), Media(png, "image", "image/png")]
    async with standing(siglip) as at:
        first = [await embed(at, item) for item in items]
        at.served.model.embed = None  # whoever asks it fails
        again = [await embed(at, item, patient=patient) for item in items for patient in (False, True)]
        with pytest.raises(InvalidArgument):
            await embed(at, Media(png, "image", "image/jpeg"))
    np.testing.assert_array_equal([one.vectors for one in first for _ in range(2)], [one.vectors for one in again])


class Gated:
    """A function that lets nobody out before it is opened, and knows how many have come in."""

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._came = threading.Semaphore(0)
        self._gate = threading.Event()
        self.calls = 0

    def __call__(self, *arguments: object, **named: object) -> object:
        self.calls += 1
        self._came.release()
        assert self._gate.wait(30)
        return self._function(*arguments, **named)

    async def came(self, count: int = 1) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self._came.acquire, timeout=30)

    def open(self) -> None:
        self._gate.set()


def picture(seed: int, side: int = 40) -> Media:
    return Media(scene_png(seed, side, side)[1], "image", "")


async def ended(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_the_patients_pictures_leave_a_decoder_to_others(siglip: Path) -> None:
    async with standing(siglip) as at:
        picture_size = at.served.model.picture_size
        gated = Gated(picture_size)
        at.served.model.picture_size = lambda width, height, **named: (gated if width == 40 else picture_size)(
            width, height, **named
        )
        patient = [asyncio.create_task(embed(at, picture(seed), patient=True)) for seed in range(3 * DECODERS)]
        await gated.came(DECODERS - 1)
        assert (await embed(at, picture(0, side=41), within_s=30)).media_tokens
        assert gated.calls == DECODERS - 1
        gated.open()
        await asyncio.gather(*patient)


async def test_the_patients_work_leaves_a_thread_to_others(siglip: Path) -> None:
    async with standing(siglip) as at:
        gated = Gated(int)
        patient = [asyncio.create_task(at.embedder.in_turn(gated)) for _ in range(100)]
        await embed(at, STAR, within_s=30)
        assert gated.calls <= DECODERS - 1
        gated.open()
        assert await asyncio.gather(*patient) == [0] * 100


async def test_what_is_accepted_is_bounded_in_bytes(siglip: Path) -> None:
    one, other = picture(1), picture(2)
    async with standing(siglip, running=False, max_queued_bytes=len(one.data) + len(other.data) - 1) as at:
        waiting = asyncio.create_task(embed(at, one))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="bytes wait"):
            await embed(at, other)
        with pytest.raises(Overloaded, match="bytes wait"):
            await ask(at, other)
        await ended(waiting)
        with pytest.raises(DeadlineExceeded):  # there is room again, and nobody who embeds
            await embed(at, other, within_s=0.2)


async def test_what_others_made_meanwhile_is_not_decoded_again(siglip: Path) -> None:
    """A patient one who waits for room behind another, while one who is not patient has it made."""
    async with standing(siglip, running=False, max_batch_tokens=1) as at:
        decoded = Gated(at.served.model.picture_size)
        decoded.open()
        at.served.model.picture_size = decoded
        tasks = []
        for item, patient in ((MOON, True), (picture(1), False)):
            tasks.append(asyncio.create_task(embed(at, item, patient=patient)))
            async with asyncio.timeout(30):
                while at.batcher.waiting(at.served.model) < len(tasks):
                    await asyncio.to_thread(int)
        tasks.append(asyncio.create_task(embed(at, picture(1), patient=True)))
        for _ in range(100):
            await asyncio.to_thread(int)
        run = asyncio.create_task(at.batcher.run())
        _, one, other = await asyncio.gather(*tasks)
        await ended(run)
    assert one is other
    assert decoded.calls == 1


async def ask(at: Standing, *items: Text | Media, within_s: float = 60) -> Embedded:
    deadline = asyncio.get_running_loop().time() + within_s
    question = Question(at.served.name, items, document=False)
    return await at.embedder.embed(at.served, question, deadline=deadline)


async def test_a_request_that_cannot_be_embedded_in_time_is_refused_before_its_pictures_are_decoded(
    siglip: Path,
) -> None:
    """A picture takes a second, as the clock has it; one is at work."""
    async with standing(siglip) as at:
        now, model, loop = 0.0, at.served.model, asyncio.get_running_loop()
        loop.time = lambda: now
        embed_pictures, gated = model.embed, None

        def embed_slowly(items: Sequence[Item]) -> list[Vectors]:
            nonlocal now
            vectors = (gated or embed_pictures)(items)
            now += len(items)
            return vectors

        model.embed = embed_slowly
        for seed in range(3):
            await ask(at, picture(seed))
        gated = Gated(embed_pictures)
        at_work = asyncio.create_task(ask(at, picture(3)))
        await gated.came()
        model.picture_size = None  # whoever decodes fails
        with pytest.raises(DeadlineExceeded, match="it would take 10 s, and 9 s were left"):
            await ask(at, *map(picture, range(10, 20)), within_s=9)
        with pytest.raises(Overloaded):
            await ask(at, *map(picture, range(10, 20)), within_s=10.5)
        assert await ask(at, picture(0), within_s=0.5)  # it is known
        gated.open()
        await at_work


async def test_the_first_item_that_fails_ends_its_request(siglip: Path) -> None:
    async with standing(siglip) as at:
        gated, embed_items = Gated(at.served.model.picture_size), at.served.model.embed
        at.served.model.picture_size = gated

        def fail_once(items: Sequence[Item]) -> list[Vectors]:
            at.served.model.embed = embed_items
            raise RuntimeError("no embedding")

        at.served.model.embed = fail_once
        async with asyncio.timeout(20):
            with pytest.raises(RuntimeError, match="no embedding"):
                await ask(at, picture(1), STAR)
        gated.open()
