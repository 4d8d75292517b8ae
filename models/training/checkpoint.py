"""The tiny PaliGemma's shape, its tokenizer, and its export in Google's key names."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer
from transformers import (
    GemmaConfig,
    GemmaTokenizer,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

from models.world.scene import HELD_OUT_SEEDS, sample_scene
from models.world.tasks import corpus

IMAGE_SIZE = 112
PATCH_SIZE = 14
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
WIDTH = 192
MAX_TOKENS = 512

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def build_processor() -> PaliGemmaProcessor:
    """Gemma's tokenizer over the tiny world's words (any other text falls back to characters
    and bytes), with `<image>`, `<loc>` and `<seg>` tokens added as PaliGemma has them."""
    bpe = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = Replace(" ", "▁")
    bpe.pre_tokenizer = Split("▁", "merged_with_next")
    trainer = BpeTrainer(
        vocab_size=700,
        show_progress=False,
        special_tokens=[*SPECIAL, "\n", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[chr(code) for code in range(33, 127)],
    )
    bpe.train_from_iterator(corpus(sample_scene(HELD_OUT_SEEDS + i) for i in range(20_000)), trainer)
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = GemmaTokenizer(vocab=learned["vocab"], merges=merges)
    image_processor = SiglipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    image_processor.image_seq_length = IMAGE_TOKENS
    return PaliGemmaProcessor(image_processor, tokenizer)


def model_config(processor: PaliGemmaProcessor) -> PaliGemmaConfig:
    tokenizer = processor.tokenizer
    vocabulary = -(-len(tokenizer) // 64) * 64
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return PaliGemmaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=3,
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            projection_dim=WIDTH,
            vision_use_head=False,
        ),
        text_config=GemmaConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
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
