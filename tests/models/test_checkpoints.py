"""The committed checkpoints: small, loadable, PaliGemma in Google's key names."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoProcessor, ColPaliForRetrieval, PaliGemmaForConditionalGeneration, SiglipModel

from models.training.pictures import IMAGE_TOKENS, train_seed
from models.world.scene import HELD_OUT_SEEDS

MODELS = Path(__file__).parents[2] / "models"
ARCHITECTURES = {
    "tiny-paligemma": PaliGemmaForConditionalGeneration,
    "tiny-siglip": SiglipModel,
    "tiny-colpali": ColPaliForRetrieval,
}


def test_together_they_are_at_most_30_mb() -> None:
    files = [file for name in ARCHITECTURES for file in (MODELS / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 30 * 10**6


def test_paligemmas_keys_are_googles() -> None:
    with safe_open(MODELS / "tiny-paligemma" / "model.safetensors", "pt") as weights:
        keys = set(weights.keys())
    assert "multi_modal_projector.linear.weight" in keys
    tops = {"vision_tower.vision_model", "language_model.model", "multi_modal_projector.linear"}
    assert {".".join(key.split(".")[:2]) for key in keys} == tops


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_transformers_loads_every_weight(name: str) -> None:
    model, report = ARCHITECTURES[name].from_pretrained(MODELS / name, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    processor = AutoProcessor.from_pretrained(MODELS / name)
    assert len(processor.tokenizer) <= model.config.get_text_config().vocab_size
    if name != "tiny-siglip":
        assert processor.image_seq_length == IMAGE_TOKENS


def test_training_never_draws_a_held_out_seed() -> None:
    seeds = {train_seed(stage, step, index) for stage in (1, 2, 3) for step in (0, 9_999) for index in (0, 99)}
    assert len(seeds) == 12
    assert min(seeds) >= HELD_OUT_SEEDS
