"""The committed checkpoint: small, in Google's key names, with the world's held-out pictures kept apart."""

from pathlib import Path

from safetensors import safe_open
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration

from models.training.tiny_paligemma import train_seed
from models.world.scene import HELD_OUT_SEEDS

FOLDER = Path(__file__).parent.parent / "models" / "tiny-paligemma"


def test_it_is_at_most_12_mb() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 12 * 10**6


def test_its_keys_are_googles() -> None:
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        keys = set(weights.keys())
    assert "multi_modal_projector.linear.weight" in keys
    tops = {"vision_tower.vision_model", "language_model.model", "multi_modal_projector.linear"}
    assert {".".join(key.split(".")[:2]) for key in keys} == tops


def test_transformers_loads_every_weight() -> None:
    model, report = PaliGemmaForConditionalGeneration.from_pretrained(FOLDER, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    processor = AutoProcessor.from_pretrained(FOLDER)
    assert processor.image_seq_length == 64
    assert len(processor.tokenizer) <= model.config.text_config.vocab_size


def test_training_never_draws_a_held_out_seed() -> None:
    seeds = {train_seed(step, index, stage) for step in (0, 9_999) for index in (0, 99) for stage in (0, 1)}
    assert len(seeds) == 8
    assert min(seeds) >= HELD_OUT_SEEDS
