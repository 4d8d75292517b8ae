"""A LoRA adapter through every layer: asked for by name, listed as a model of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import PaliGemmaForConditionalGeneration

from chiasm import AsyncClient, NotFound
from tests.checkpoints import TINY
from tests.paligemma.parity.checkpoints import random_adapter
from tests.pictures import scene_png
from tests.stacks import gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE, ADAPTED = "models/tiny-paligemma", "models/tiny-paligemma:odd"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    model = PaliGemmaForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    adapter: Path = random_adapter(model, tmp_path_factory.mktemp("adapter") / "odd", alpha=64)
    environment = {"CHIASM_PALIGEMMA_ADAPTERS": f"odd={adapter}"}
    async with running(TINY, environment) as stack, AsyncClient(gateway(stack)) as client:
        yield client


async def test_the_adapter_answers_when_it_is_asked_for_and_only_then(client: AsyncClient) -> None:
    _, png = scene_png()
    plain = await client.caption(png)
    adapted = await client.caption(png, model=ADAPTED)
    assert (plain.model, adapted.model) == (BASE, ADAPTED)
    assert plain.text == (await client.caption(png, model=BASE)).text != adapted.text
    base_revision, adapted_revision = (answer.route.attempts[0].revision for answer in (plain, adapted))
    assert adapted_revision.startswith(f"{base_revision}+")


async def test_both_are_listed(client: AsyncClient) -> None:
    base, adapted = await client.models()
    assert (base.name, adapted.name) == (BASE, ADAPTED)
    assert base.tasks == adapted.tasks


async def test_an_adapter_that_is_not_served_is_not_found(client: AsyncClient) -> None:
    with pytest.raises(NotFound, match="tiny-paligemma:odd") as caught:
        await client.caption(scene_png()[1], model="tiny-paligemma:even")
    assert caught.value.field == "model"
