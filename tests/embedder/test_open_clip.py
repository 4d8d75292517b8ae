"""CLIP of OpenCLIP's format beside the vectors that OpenCLIP gave: golden/make_open_clip.py made both."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from services.embedder.config import EmbedderSettings
from services.embedder.models.loading import load
from services.embedder.models.model import EmbeddingModel
from services.runtime.config import BadSetting
from services.runtime.media import ImageLimits, decode

GOLDEN = Path(__file__).parent / "golden"
CHECKPOINT = GOLDEN / "open_clip"
VECTORS = json.loads((GOLDEN / "vectors.json").read_text())
CLOSE = {"atol": 1e-5, "rtol": 0}

Change = Callable[[dict[str, Any]], None]


def changed(folder: Path, change: Change) -> Path:
    """A copy of the checkpoint whose description `change` changes in place."""
    shutil.copytree(CHECKPOINT, folder)
    described = json.loads((folder / "open_clip_config.json").read_text())
    change(described)
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return folder


def assert_golden(model: EmbeddingModel, expected: dict[str, list[list[float]]]) -> None:
    fit = {"resize": partial(model.picture_size, field=""), "resample": model.facts.resample}
    decoded = [
        decode((GOLDEN / "pictures" / f"{n}.png").read_bytes(), field="", limits=ImageLimits(), **fit)
        for n in range(len(expected["pictures"]))
    ]
    pictures = [model.picture(picture.image) for picture in decoded]
    texts = [model.encode(text, document=False, field="") for text in VECTORS["texts"]]
    np.testing.assert_allclose(model.embed(pictures), expected["pictures"], **CLOSE)
    np.testing.assert_allclose(model.embed(texts), expected["texts"], **CLOSE)
    np.testing.assert_allclose([model.embed([text])[0] for text in texts], expected["texts"], **CLOSE)


def test_vectors_are_open_clips() -> None:
    model = load(str(CHECKPOINT), EmbedderSettings())
    assert_golden(model, VECTORS["own"])
    assert model.facts.logit_scale == pytest.approx(VECTORS["logit_scale"])
    assert (model.facts.logit_bias, model.facts.max_text_tokens, model.facts.dimensions) == (None, 24, 16)


def test_activation_and_resizing_are_as_it_says(tmp_path: Path) -> None:
    def otherwise(described: dict[str, Any]) -> None:
        described["model_cfg"]["quick_gelu"] = False
        described["preprocess_cfg"] |= {"resize_mode": "squash", "interpolation": "bilinear"}

    assert_golden(load(str(changed(tmp_path / "otherwise", otherwise)), EmbedderSettings()), VECTORS["otherwise"])


def test_weights_may_be_pickled_tensors(tmp_path: Path) -> None:
    folder = shutil.copytree(CHECKPOINT, tmp_path / "pickled")
    weights = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    model = load(str(folder), EmbedderSettings())
    assert_golden(model, VECTORS["own"])
    torch.save(weights | {"logit_scale": torch.tensor(1.0)}, folder / "open_clip_pytorch_model.bin")
    assert load(str(folder), EmbedderSettings()).facts.revision != model.facts.revision


def test_a_pickle_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    folder = shutil.copytree(CHECKPOINT, tmp_path / "pickled")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"logit_scale": Path("anything but a tensor")}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(Exception, match="Weights only load failed"):
        load(str(folder), EmbedderSettings())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["model_cfg"]["vision_cfg"].update(layers=[3, 4, 6, 3]), "a plain, square ViT alone"),
        (lambda d: d["model_cfg"]["vision_cfg"].update(image_size=[32, 64]), "a plain, square ViT alone"),
        (lambda d: d["model_cfg"]["vision_cfg"].update(timm_model_name="convnext_base"), "vision_cfg.timm_model_name"),
        (lambda d: d["model_cfg"]["vision_cfg"].update(attentional_pool=True), "vision_cfg.attentional_pool"),
        (lambda d: d["model_cfg"]["text_cfg"].update(hf_model_name="xlm-roberta-base"), "text_cfg.hf_model_name"),
        (lambda d: d["model_cfg"].update(multimodal_cfg={"width": 8}), "model_cfg.multimodal_cfg"),
        (lambda d: d["model_cfg"].update(custom_text=True), "model_cfg.custom_text"),
        (lambda d: d["model_cfg"]["text_cfg"].update(vocab_size=600), "not that of its weights"),
        (lambda d: d["preprocess_cfg"].update(resize_mode="longest"), "resize_mode 'longest'"),
        (lambda d: d["model_cfg"]["vision_cfg"].update(layers=3), "lacks 16 of its weights"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path: Path, change: Change, told: str) -> None:
    with pytest.raises(BadSetting, match=told) as caught:
        load(str(changed(tmp_path / "other", change)), EmbedderSettings())
    assert caught.value.field == "models"


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("merges.txt", "neither tokenizer.json nor vocab.json and merges.txt"),
        ("open_clip_model.safetensors", "neither open_clip_model.safetensors nor open_clip_pytorch_model.bin"),
    ],
)
def test_a_file_that_is_missing_is_named(tmp_path: Path, missing: str, told: str) -> None:
    folder = shutil.copytree(CHECKPOINT, tmp_path / "lacking")
    (folder / missing).unlink()
    with pytest.raises(BadSetting, match=told):
        load(str(folder), EmbedderSettings())


def test_one_that_has_transformers_weights_too_is_loaded_as_transformers(tmp_path: Path, siglip: Path) -> None:
    folder = shutil.copytree(siglip, tmp_path / "both")
    shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
    assert load(str(folder), EmbedderSettings()).facts.logit_bias == pytest.approx(-10)
