"""The checkpoints parity is shown on: the trained one, and random ones of both generations."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Gemma2Config, PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from models.training.checkpoint import export
from tests.checkpoints import TINY

SPREAD = 0.12
"""Standard deviation of random weights: so large that the attention mask shows in every token."""
ADAPTER_SPREAD = 0.05
_SHARED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


def random_gemma1(seed: int) -> PaliGemmaForConditionalGeneration:
    """PaliGemma 1 of the trained one's shape."""
    return _random(PaliGemmaConfig.from_pretrained(TINY), seed)


def random_gemma2(seed: int, *, window: int, final_cap: float = 30.0) -> PaliGemmaForConditionalGeneration:
    """PaliGemma 2: Gemma 2's norms, soft-caps and declared sliding window."""
    config = PaliGemmaConfig.from_pretrained(TINY)
    one = config.text_config
    config.text_config = Gemma2Config(
        **{name: getattr(one, name) for name in _SHARED},
        query_pre_attn_scalar=one.head_dim,
        sliding_window=window,
        final_logit_softcapping=final_cap,
        num_image_tokens=(config.vision_config.image_size // config.vision_config.patch_size) ** 2,
        use_bidirectional_attention=True,
    )
    config.text_config._attn_implementation = "eager"
    return _random(config, seed)


def _random(config: PaliGemmaConfig, seed: int) -> PaliGemmaForConditionalGeneration:
    torch.manual_seed(seed)
    model = PaliGemmaForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # Values that bfloat16 has too, so that every way of saving them keeps them.
                parameter.copy_(parameter.normal_(std=SPREAD).bfloat16())
    part_from_embeddings(model)
    return model


@torch.no_grad()
def part_from_embeddings(model: PaliGemmaForConditionalGeneration) -> None:
    """Random signs in the last norm: tied embeddings would else make a token its own successor, whatever the mask."""
    norm = model.model.language_model.norm.weight
    norm.copy_(torch.randint(2, norm.shape) * 2.0 - 2.0)


def save_as_google(model: PaliGemmaForConditionalGeneration, folder: Path) -> Path:
    export(model, PaliGemmaProcessor.from_pretrained(TINY), folder)
    return folder


def save_as_transformers(model: PaliGemmaForConditionalGeneration, folder: Path) -> Path:
    """With `save_pretrained`, under whatever key names it has today, in float32."""
    model.save_pretrained(folder)
    PaliGemmaProcessor.from_pretrained(TINY).save_pretrained(folder)
    return folder


def random_adapter(model: PaliGemmaForConditionalGeneration, folder: Path, *, rank: int = 4, alpha: int = 8) -> Path:
    """A LoRA adapter of `model` in PEFT's layout: every linear layer of the text model, and the tower's attention.

    `model` is merged with it in place, W + alpha / rank * B A (arXiv 2106.09685), and so becomes its reference.
    """
    generator = torch.Generator().manual_seed(rank)
    tensors, targets = {}, set()
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or not ("language_model" in name or "self_attn" in name):
            continue
        a = torch.randn(rank, module.in_features, generator=generator) * ADAPTER_SPREAD
        b = torch.randn(module.out_features, rank, generator=generator) * ADAPTER_SPREAD
        tensors |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
        targets.add(name.rpartition(".")[2])
        with torch.no_grad():
            module.weight += alpha / rank * b @ a
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": sorted(targets), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
