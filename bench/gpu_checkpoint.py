"""A PaliGemma 2 of true shape with random weights."""

from pathlib import Path

import torch
from transformers import (
    Gemma2Config,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipVisionConfig,
)

from bench.roofline import Shape
from tests.paligemma.parity.checkpoints import part_from_embeddings

TINY = Path(__file__).parents[1] / "models" / "tiny-paligemma"


def write(folder: Path, shape: Shape, *, device: str) -> None:
    """The checkpoint, bfloat16, seeded; its tokenizer is the tiny model's, whose ids are all below the vocabulary."""
    processor = PaliGemmaProcessor.from_pretrained(TINY)
    processor.image_processor.size = {"height": shape.image_size, "width": shape.image_size}
    processor.image_processor.image_seq_length = processor.image_seq_length = shape.image_tokens
    torch.manual_seed(0)
    with torch.device(device):
        model = PaliGemmaForConditionalGeneration(_config(processor, shape)).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # Keeps the size of what passes through, so that no layer drowns another.
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        # An answer then lasts until it is cut: this logit is 0, the greatest of so many random ones is not.
        model.get_input_embeddings().weight[processor.tokenizer.eos_token_id] = 0
    part_from_embeddings(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _config(processor: PaliGemmaProcessor, shape: Shape) -> PaliGemmaConfig:
    tokenizer = processor.tokenizer
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=shape.vision_width,
            intermediate_size=shape.vision_mlp,
            num_hidden_layers=shape.vision_layers,
            num_attention_heads=shape.vision_heads,
            image_size=shape.image_size,
            patch_size=shape.patch,
            projection_dim=shape.width,
            vision_use_head=False,
        ),
        text_config=Gemma2Config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head,
            query_pre_attn_scalar=shape.head,
            max_position_embeddings=8192,
            sliding_window=4096,
            num_image_tokens=shape.image_tokens,
            use_bidirectional_attention=True,
            **ids,
        ),
        image_token_index=processor.image_token_id,
        projection_dim=shape.width,
        hidden_size=shape.width,
        **ids,
    )
    config.text_config._attn_implementation = "eager"
    return config
