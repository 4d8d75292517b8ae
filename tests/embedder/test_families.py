"""Each family's vectors beside those of transformers run by itself, in batches and alone."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.embedder.config import EmbedderSettings
from services.embedder.models.loading import load
from services.embedder.models.model import EmbeddingModel, Item, Vectors
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits, decode
from tests.embedder import checkpoints, reference
from tests.pictures import scene_png

TEXTS = ["a red circle", "how many stars?", "green", "a red circle left of a blue square"]
SHAPES = [(50, 50), (81, 40), (64, 33), (31, 90), (20, 35)]
PNGS = [scene_png(seed, *shape)[1] for seed, shape in enumerate(SHAPES)]
IMAGES = [Image.open(BytesIO(png)).convert("RGB") for png in PNGS]
CLOSE = {"atol": 1e-5, "rtol": 0}

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A random checkpoint of a family, made when it is first asked for."""
    made = tmp_path_factory.mktemp("families")

    def folder(family: str) -> Path:
        if not (made / family).exists():
            getattr(checkpoints, f"random_{family}")(made / family)
        return made / family

    return folder


def pictures(model: EmbeddingModel) -> list[Item]:
    decoded = (
        decode(png, field="", limits=ImageLimits(), resize=partial(model.picture_size, field=""), resample=resample)
        for png, resample in zip(PNGS, [model.facts.resample] * len(PNGS), strict=True)
    )
    return [model.picture(picture.image) for picture in decoded]


def texts(model: EmbeddingModel) -> list[Item]:
    return [model.encode(text, document=False, field="") for text in TEXTS]


def assert_close(given: list[Vectors], expected: list[np.ndarray] | np.ndarray) -> None:
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def assert_same_in_batches_and_alone(
    model: EmbeddingModel, items: list[Item], expected: list[np.ndarray] | np.ndarray
) -> None:
    assert_close(model.embed(items), expected)
    assert_close([vectors for item in items for vectors in model.embed([item])], expected)


def test_siglip(folder: Folder) -> None:
    model = load(str(folder("siglip")), EmbedderSettings())
    assert_same_in_batches_and_alone(model, texts(model), reference.siglip_texts(folder("siglip"), TEXTS))
    assert_same_in_batches_and_alone(model, pictures(model), reference.siglip_images(folder("siglip"), IMAGES))


def test_naflex_keeps_the_shape_of_pictures(folder: Folder) -> None:
    model = load(str(folder("naflex")), EmbedderSettings())
    expected = reference.naflex_images(folder("naflex"), IMAGES, most_patches=checkpoints.NAFLEX_PATCHES)
    items = pictures(model)
    assert_same_in_batches_and_alone(model, items, expected)
    assert_same_in_batches_and_alone(model, texts(model), reference.naflex_texts(folder("naflex"), TEXTS))
    counted = [item.input.width * item.input.height // checkpoints.PATCH_SIZE**2 for item in items]
    assert [model.tokens(item) for item in items] == [model.media_tokens(item) for item in items] == counted
    assert len(set(counted)) > 1
    assert max(counted) <= model.facts.image_tokens == checkpoints.NAFLEX_PATCHES


def test_clip_takes_the_middle_of_pictures(folder: Folder) -> None:
    model = load(str(folder("clip")), EmbedderSettings())
    assert_same_in_batches_and_alone(model, texts(model), reference.clip_texts(folder("clip"), TEXTS))
    assert_same_in_batches_and_alone(model, pictures(model), reference.clip_images(folder("clip"), IMAGES))


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|EndOfText|>", "<|STARTOFTEXT|>"])
def test_clip_takes_no_control_token_however_it_is_written(folder: Folder, tmp_path: Path, token: str) -> None:
    """OpenAI's tokenizer finds them in the text that it has made small."""
    openai = shutil.copytree(folder("clip"), tmp_path / "clip")
    tokenizer = json.loads((openai / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [added | {"normalized": True} for added in tokenizer["added_tokens"]]
    (openai / "tokenizer.json").write_text(json.dumps(tokenizer))
    model = load(str(openai), EmbedderSettings())
    with pytest.raises(InvalidArgument, match="control token") as caught:
        model.encode(f"a red {token} circle", document=False, field="items[0].text")
    assert caught.value.field == "items[0].text"


def test_clip_squeezes_pictures_where_the_checkpoint_says_so(tmp_path: Path) -> None:
    squeezed = checkpoints.random_clip(tmp_path / "squeezed", squeezed=True)
    model = load(str(squeezed), EmbedderSettings())
    assert_same_in_batches_and_alone(model, pictures(model), reference.clip_images(squeezed, IMAGES))


def test_clips_probabilities_are_exclusive(folder: Folder) -> None:
    model = load(str(folder("clip")), EmbedderSettings())
    logits = model.facts.logit_scale * np.stack(model.embed(pictures(model))) @ np.stack(model.embed(texts(model))).T
    odds = np.exp(logits)
    expected = reference.clip_probabilities(folder("clip"), TEXTS, IMAGES)
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), expected, **CLOSE)
    assert model.facts.logit_bias is None


def test_colpali(folder: Folder) -> None:
    model = load(str(folder("colpali")), EmbedderSettings())
    assert_same_in_batches_and_alone(model, texts(model), reference.colpali_queries(folder("colpali"), TEXTS))
    assert_same_in_batches_and_alone(model, pictures(model), reference.colpali_pages(folder("colpali"), IMAGES))


def test_colqwen2_gives_pages_vectors_by_their_shape(folder: Folder) -> None:
    model = load(str(folder("colqwen2")), EmbedderSettings())
    items = pictures(model)
    expected = reference.colqwen2_pages(folder("colqwen2"), IMAGES)
    assert_same_in_batches_and_alone(model, items, expected)
    assert_same_in_batches_and_alone(model, texts(model), reference.colqwen2_queries(folder("colqwen2"), TEXTS))
    assert [model.tokens(item) for item in items] == [len(page) for page in expected]
    assert len({len(page) for page in expected}) > 1
    assert max(map(model.media_tokens, items)) <= model.facts.media_tokens


@pytest.mark.parametrize("family", ["colpali", "colqwen2"])
def test_words_are_those_of_the_question_alone(folder: Folder, family: str) -> None:
    model = load(str(folder(family)), EmbedderSettings())
    item = model.encode("a red  circle é?", document=False, field="")
    rows, words = zip(*model.words(item), strict=True)
    assert words[:3] == ("a", "red", "circle")
    assert words[-1] == "?"
    assert "é" in words
    (vectors,) = model.embed([item])
    (shorter,) = model.embed([model.encode("a red", document=False, field="")])
    assert len(vectors) - len(rows) > 0
    assert 0 < rows[0] < rows[-1] < len(vectors)
    assert len(shorter) < len(vectors)


def test_colpalis_patches_lie_as_they_do_on_the_page(folder: Folder) -> None:
    model = load(str(folder("colpali")), EmbedderSettings())
    (page,) = model.embed(pictures(model)[:1])
    patches = model.patches(page, 50, 50)
    assert patches.shape == (2, 2, model.facts.dimensions)
    np.testing.assert_array_equal(patches.reshape(4, -1), page[:4])


def test_colqwen2s_patches_lie_as_they_do_on_the_page(folder: Folder) -> None:
    model = load(str(folder("colqwen2")), EmbedderSettings())
    for item, page, (width, height) in zip(pictures(model), model.embed(pictures(model)), SHAPES, strict=True):
        patches = model.patches(page, width, height)
        assert patches.shape == (item.input.height // 8, item.input.width // 8, model.facts.dimensions)
        begin = np.flatnonzero((page == patches[0, 0]).all(-1))[0]
        np.testing.assert_array_equal(patches.reshape(-1, model.facts.dimensions), page[begin:][: patches[..., 0].size])


@pytest.mark.parametrize("family", ["clip", "colqwen2"])
def test_a_picture_that_is_too_long_is_refused(folder: Folder, family: str) -> None:
    model = load(str(folder(family)), EmbedderSettings())
    assert min(model.picture_size(4_000, 20, field="a")) > 0
    with pytest.raises(InvalidArgument, match="sides up to 1 to 200") as caught:
        model.picture_size(20, 4_001, field="items[1].media.data")
    assert caught.value.field == "items[1].media.data"


@pytest.mark.parametrize(("family", "words"), [("clip", 5), ("colpali", 16), ("colqwen2", 16)])
def test_texts_of_very_different_length_share_no_batch(folder: Folder, family: str, words: int) -> None:
    model = load(str(folder(family)), EmbedderSettings())
    short, long, longer = (model.encode("a" + " red" * n, document=False, field="") for n in (0, words, words + 1))
    assert short.bucket != long.bucket == longer.bucket


def test_pages_of_very_different_size_share_no_batch(folder: Folder) -> None:
    model = load(str(folder("colqwen2")), EmbedderSettings())
    small, large, larger = (model.picture(Image.new("RGB", size)) for size in ((16, 8), (32, 16), (32, 24)))
    assert small.bucket != large.bucket == larger.bucket
