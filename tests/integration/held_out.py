"""Questions with one right answer about pictures that were never trained on."""

import asyncio

from chiasm import AsyncClient
from models.world.scene import HELD_OUT_SEEDS, sample_scene
from models.world.tasks import Example, every_question
from tests.pictures import encoded

FIRST_SEED = 900_000
AT_ONCE = 64


async def ask_all(client: AsyncClient, pictures: int) -> list[tuple[Example, str]]:
    """Each question about each of `pictures` pictures, and what was answered."""
    assert FIRST_SEED + pictures <= HELD_OUT_SEEDS
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(png: bytes, example: Example) -> tuple[Example, str]:
        async with turns:
            return example, (await client.ask(png, example.prompt.removeprefix("answer en "))).text

    asked = []
    for seed in range(FIRST_SEED, FIRST_SEED + pictures):
        scene = sample_scene(seed)
        png = encoded(scene.draw(224, 224))
        asked += [ask(png, example) for example in every_question(scene)]
    return await asyncio.gather(*asked)
