"""The tiny PaliGemma's shape, its processor, and its export in Google's key names."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    GemmaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipVisionConfig,
)

from models.training.pictures import IMAGE_SIZE, IMAGE_TOKENS, PATCH_SIZE, build_image_processor
from models.training.tokenizer import build_tokenizer
from models.world.scene import HELD_OUT_SEEDS
from models.world.tasks import corpus, sample_world

WIDTH = 192
MAX_TOKENS = 512


def vision_config(*, head: bool) -> SiglipVisionConfig:
    """The tower that the tiny models share; `head` is SigLIP's pooling, which PaliGemma has not."""
    return SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=3,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=WIDTH,
        vision_use_head=head,
    )


def build_processor() -> PaliGemmaProcessor:
    """Gemma's tokenizer over the tiny world's words, with PaliGemma's `<image>`, `<loc>` and `<seg>` tokens."""
    tokenizer = build_tokenizer(corpus(sample_world(HELD_OUT_SEEDS + i) for i in range(20_000)))
    image_processor = build_image_processor()
    image_processor.image_seq_length = IMAGE_TOKENS
    return PaliGemmaProcessor(image_processor, tokenizer)


def model_config(processor: PaliGemmaProcessor) -> PaliGemmaConfig:
    tokenizer = processor.tokenizer
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return PaliGemmaConfig(
        vision_config=vision_config(head=False),
        text_config=GemmaConfig(
            vocab_size=-(-len(tokenizer) // 64) * 64,
            hidden_size=WIDTH,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=64,
            max_position_embeddings=MAX_TOKENS,
            num_image_tokens=IMAGE_TOKENS,
            **ids,
        ),
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        **ids,
    )


def export(model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, out: Path) -> None:
    """Write `model` in bfloat16 under the key names of Google's published checkpoints."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["PaliGemmaForConditionalGeneration"]
    model.config.dtype = "bfloat16"
    model.config.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    processor.save_pretrained(out)
    tensors = {
        google_name(name): tensor.to(torch.bfloat16).contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def google_name(name: str) -> str:
    """transformers 5 drops `vision_model.` and adds `model.`; Google's files have it the other way."""
    name = name.removeprefix("model.")
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    return name
