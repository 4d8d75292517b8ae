"""Tiny SigLIP and ColPali checkpoints with random weights: real architectures, in transformers' own layout."""

from pathlib import Path

import torch
from torch import nn
from transformers import (
    ColPaliConfig,
    ColPaliForRetrieval,
    ColPaliProcessor,
    GemmaConfig,
    GemmaTokenizer,
    PaliGemmaConfig,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTextConfig,
    SiglipVisionConfig,
)

from models.training.tokenizer import build_tokenizer

WIDTH = 32
IMAGE_SIZE = 32
PATCH_SIZE = 16
PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
MAX_TEXT = 16
CORPUS = ["a red circle left of a blue square", "how many green stars are there?"]


def random_siglip(folder: Path, *, resample: int = 3) -> Path:
    """With SigLIP 2's tokenizer, and its way to resize pictures (PIL's number: 2 bilinear, 3 bicubic)."""
    torch.manual_seed(1)
    tokenizer = build_tokenizer(CORPUS, vocabulary=400)
    text = SiglipTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TEXT,
        projection_size=WIDTH,
        **_ids(tokenizer),
    )
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=_vision(head=True).to_dict()))
    _spread(model)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-10.0)
    return _saved(folder, model, SiglipProcessor(_image_processor(resample), tokenizer))


def random_colpali(folder: Path) -> Path:
    """Over PaliGemma's architecture, with its image tokens."""
    torch.manual_seed(2)
    image_processor = _image_processor(3)
    image_processor.image_seq_length = PATCHES
    processor = ColPaliProcessor(image_processor, build_tokenizer(CORPUS, vocabulary=400))
    text = GemmaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        **_ids(processor.tokenizer),
    )
    vlm = PaliGemmaConfig(
        vision_config=_vision(head=False),
        text_config=text,
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=8))
    _spread(model)
    return _saved(folder, model, processor)


def _ids(tokenizer: GemmaTokenizer) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _vision(*, head: bool) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=WIDTH,
        vision_use_head=head,
    )


def _image_processor(resample: int) -> SiglipImageProcessor:
    return SiglipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=resample,
    )


def _spread(model: nn.Module) -> None:
    """Weights so large that masks, positions and padding show in every vector."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)


def _saved(folder: Path, model: nn.Module, processor: SiglipProcessor | ColPaliProcessor) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
