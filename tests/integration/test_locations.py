"""Boxes and masks through every layer: a model that has learned a few location answers by heart."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from chiasm import AsyncClient
from models.world.scene import sample_scene
from models.world.scene_tasks import detect_answer
from services.paligemma.masks import MaskDecoder
from tests.checkpoints import memorised
from tests.mask_weights import write_mask_weights
from tests.pictures import encoded
from tests.stacks import gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDTH, HEIGHT = 640, 320
SCENE = sample_scene(25)  # two squares, a triangle and a star
SQUARES = [thing for thing in SCENE.things if thing.shape == "square"]
STAR = next(thing for thing in SCENE.things if thing.shape == "star")
CODES = tuple(range(3, 128, 8))
PNG = encoded(SCENE.draw(WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("decoder") / "vae-oid.npz"
    write_mask_weights(file)
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> AsyncIterator[AsyncClient]:
    segments = "".join(f"<seg{code:03d}>" for code in CODES)
    outlined = detect_answer([STAR], "star").replace(" star", f"{segments} star")
    picture = SCENE.draw(WIDTH, HEIGHT)
    model = memorised(
        tmp_path_factory.mktemp("locations"),
        [(picture, "detect square", detect_answer(SQUARES, "square")), (picture, "segment star", outlined)],
    )
    environment = {"CHIASM_PALIGEMMA_MASK_DECODER_FILE": str(weights)}
    async with running(model, environment) as stack, AsyncClient(gateway(stack)) as client:
        yield client


async def test_boxes_are_in_pixels_of_the_original_picture(client: AsyncClient) -> None:
    answer = await client.detect(PNG, ["square"])
    assert [detection.label for detection in answer.detections] == ["square", "square"]
    for detection, thing in zip(answer.detections, SQUARES, strict=True):
        edges = [detection.box.x_min, detection.box.y_min, detection.box.x_max, detection.box.y_max]
        truth = np.array(thing.box) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        np.testing.assert_allclose(edges, truth, atol=WIDTH / 1023)
        assert 0.5 < detection.confidence <= 1
        assert detection.mask is None


async def test_a_mask_is_the_decoders_in_its_box(client: AsyncClient, weights: Path) -> None:
    (star,) = (await client.segment(PNG, "star")).detections
    assert star.label == "star"
    mask = np.asarray(Image.open(BytesIO(star.mask.png)))
    assert (star.mask.x, star.mask.y) == (int(star.box.x_min), int(star.box.y_min))
    assert set(np.unique(mask)) <= {0, 255}
    soft = MaskDecoder(weights).decode(CODES)
    expected = np.asarray(Image.fromarray(soft).resize(mask.shape[::-1], Image.Resampling.BILINEAR)) > 0
    np.testing.assert_array_equal(mask > 0, expected)


async def test_the_model_says_that_it_segments(client: AsyncClient) -> None:
    (model,) = await client.models()
    assert "segment" in model.tasks
