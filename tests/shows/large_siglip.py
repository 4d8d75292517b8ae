"""A SigLIP of true size with random weights: google/siglip-base-patch16-224's shape, tiny-siglip's tokenizer."""

import json
from pathlib import Path

import torch
from transformers import (
    AutoProcessor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTextConfig,
    SiglipVisionConfig,
)

from tests.shows.embedder_stack import TINY_SIGLIP

SIDE = 224
TOKENS = 196
"""Of a picture."""


def save_siglip(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = AutoProcessor.from_pretrained(TINY_SIGLIP).tokenizer
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = SiglipTextConfig(vocab_size=len(tokenizer), **ids)
    # Their other numbers are the checkpoint's.
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=SiglipVisionConfig().to_dict()))
    pictures = SiglipImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3
    )
    model.save_pretrained(folder)
    SiglipProcessor(pictures, tokenizer).save_pretrained(folder)


def save_for_older_transformers(folder: Path, made: Path) -> None:
    """`made` again, as transformers before 5 reads it; its weights are linked."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(made / name)
    settings = json.loads((made / "processor_config.json").read_text())
    pictures = settings["image_processor"] | {"processor_class": settings["processor_class"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
