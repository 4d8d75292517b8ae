"""Single items, as search and indexing ask for them."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from services.embedder.batching.cache import EmbeddedItem
from services.embedder.embedding import Media, Text
from services.runtime.errors import DeadlineExceeded, InvalidArgument, Overloaded
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
