"""CLIP in OpenCLIP's format (https://github.com/mlfoundations/open_clip), brought into that of transformers."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

import ftfy
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from services.embedder.models.checkpoint import Checkpoint
from services.embedder.models.clip import Clip
from services.embedder.models.model import Item
from services.runtime.config import BadSetting

CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
_VISION = {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "patch_dropout"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_PREPROCESS = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}

_TOWER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_REST = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_PROJECTIONS = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}


class OpenClip(Clip):
    """Where OpenCLIP differs from transformers: it mends a text before it reads it, and rounds what it cuts off."""

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        mended = html.unescape(html.unescape(ftfy.fix_text(text)))
        return super().encode(mended, document=document, field=field)

    def _before(self, spare: int) -> int:
        return round(spare / 2)


def read(checkpoint: Checkpoint) -> tuple[CLIPConfig, dict[str, torch.Tensor], CLIPProcessor]:
    """What transformers' CLIPModel is made of. Raises BadSetting for what is no CLIP with a ViT, or lacks a file."""
    described = json.loads(checkpoint.file(CONFIG).read_text())
    model_cfg = described["model_cfg"]
    _check_keys("model_cfg", model_cfg, _TOP)
    _check_keys("vision_cfg", model_cfg["vision_cfg"], _VISION)
    _check_keys("text_cfg", model_cfg["text_cfg"], _TEXT)
    tokenizer = _tokenizer(checkpoint)
    config = _config(model_cfg, tokenizer)
    images = _image_processor(described.get("preprocess_cfg", {}), config.vision_config.image_size)
    return config, dict(_renamed(_weights(checkpoint))), CLIPProcessor(images, tokenizer)


def _check_keys(name: str, given: Mapping[str, Any], known: set[str]) -> None:
    """OpenCLIP's other keys stand for other architectures, unless they are off."""
    if others := [key for key, value in given.items() if value and key not in known]:
        raise BadSetting("models", f"{name}.{others[0]}: of OpenCLIP, CLIP with a plain ViT alone is served")


def _tokenizer(checkpoint: Checkpoint) -> CLIPTokenizer:
    if not (checkpoint.file("tokenizer.json") or checkpoint.file("merges.txt")):
        raise BadSetting("models", f"{checkpoint.source} has neither tokenizer.json nor vocab.json and merges.txt")
    return CLIPTokenizer.from_pretrained(checkpoint.source, revision=checkpoint.commit)


def _config(model_cfg: Mapping[str, Any], tokenizer: CLIPTokenizer) -> CLIPConfig:
    """The values that a key has where it is left out are those of open_clip's CLIPVisionCfg and CLIPTextCfg."""
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    if not (isinstance(vision.get("layers", 12), int) and isinstance(vision.get("image_size", 224), int)):
        raise BadSetting("models", "vision_cfg: of OpenCLIP, CLIP with a plain, square ViT alone is served")
    act = "quick_gelu" if model_cfg.get("quick_gelu") else "gelu"
    width, text_width = vision.get("width", 768), text.get("width", 512)
    vision_config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=int(width * vision.get("mlp_ratio", 4.0)),
        num_hidden_layers=vision.get("layers", 12),
        num_attention_heads=width // vision.get("head_width", 64),
        image_size=vision.get("image_size", 224),
        patch_size=vision.get("patch_size", 16),
        hidden_act=act,
    )
    text_config = CLIPTextConfig(
        vocab_size=text.get("vocab_size", 49408),
        hidden_size=text_width,
        intermediate_size=int(text_width * text.get("mlp_ratio", 4.0)),
        num_hidden_layers=text.get("layers", 12),
        num_attention_heads=text.get("heads", 8),
        max_position_embeddings=text.get("context_length", 77),
        hidden_act=act,
        **{name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    # OpenCLIP pools a text at its highest token, transformers at that which ends it.
    if tokenizer.eos_token_id != text_config.vocab_size - 1:
        raise BadSetting("models", "its tokenizer is not that of its weights: texts do not end in the last token")
    return CLIPConfig(
        text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), projection_dim=model_cfg["embed_dim"]
    )


def _weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    files = filter(None, map(checkpoint.file, _WEIGHTS))
    if (file := next(files, None)) is None:
        raise BadSetting("models", f"{checkpoint.source} has neither {' nor '.join(_WEIGHTS)}")
    if file.suffix == ".safetensors":
        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _renamed(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in weights.items():
        if name in _REST:
            yield _REST[name], tensor
        elif name in _PROJECTIONS:
            yield _PROJECTIONS[name], tensor.T
        else:
            yield from _of_a_layer(name, tensor)


def _of_a_layer(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """`visual.transformer.resblocks.0.ln_1.weight` is `vision_model.encoder.layers.0.layer_norm1.weight`."""
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    number, _, part = name.removeprefix("visual.").removeprefix("transformer.resblocks.").partition(".")
    layer = f"{tower}.encoder.layers.{number}"
    if part in ("attn.in_proj_weight", "attn.in_proj_bias"):
        for one, rows in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{layer}.self_attn.{one}_proj.{part.removeprefix('attn.in_proj_')}", rows
        return
    module, _, kind = part.rpartition(".")
    if module not in _TOWER:
        raise BadSetting("models", f"{name} is no weight of a CLIP with a plain ViT")
    yield f"{layer}.{_TOWER[module]}.{kind}", tensor


def _image_processor(preprocess_cfg: Mapping[str, Any], side: int) -> CLIPImageProcessorPil:
    """The values that a key has where it is left out are those of open_clip's PreprocessCfg."""
    _check_keys("preprocess_cfg", preprocess_cfg, _PREPROCESS)
    mode = preprocess_cfg.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise BadSetting("models", f"preprocess_cfg.resize_mode {mode!r}: `shortest` and `squash` are served")
    square = {"height": side, "width": side}
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if mode == "shortest" else square,
        do_center_crop=mode == "shortest",
        crop_size=square,
        image_mean=list(preprocess_cfg.get("mean", OPENAI_CLIP_MEAN)),
        image_std=list(preprocess_cfg.get("std", OPENAI_CLIP_STD)),
        resample=Image.Resampling[preprocess_cfg.get("interpolation", "bicubic").upper()],
    )
