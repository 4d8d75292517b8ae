"""Tiny checkpoints with random weights: real architectures, in transformers' own layout."""

from pathlib import Path

import torch
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    ColPaliConfig,
    ColPaliForRetrieval,
    ColPaliProcessor,
    ColQwen2Config,
    ColQwen2ForRetrieval,
    ColQwen2Processor,
    GemmaConfig,
    PaliGemmaConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
    SiglipTextConfig,
    SiglipVisionConfig,
)

from models.training.tokenizer import build_tokenizer
from tests.embedder.vocabularies import clip_tokenizer, qwen2_tokenizer

WIDTH = 32
IMAGE_SIZE = 32
PATCH_SIZE = 16
PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
NAFLEX_PATCHES = 12
MAX_TEXT = 16
CORPUS = ["a red circle left of a blue square", "how many green stars are there?"]
_TOWER = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}


def random_siglip(folder: Path, *, resample: int = 3) -> Path:
    """With SigLIP 2's tokenizer, and its way to resize pictures (PIL's number: 2 bilinear, 3 bicubic)."""
    torch.manual_seed(1)
    tokenizer = build_tokenizer(CORPUS, vocabulary=400)
    config = SiglipConfig(
        text_config=_siglip_text(tokenizer).to_dict(), vision_config=_siglip_vision(head=True).to_dict()
    )
    return _saved_siglip(folder, SiglipModel(config), SiglipProcessor(_siglip_images(resample), tokenizer))


def random_naflex(folder: Path) -> Path:
    """SigLIP 2 that keeps a picture's shape, within `NAFLEX_PATCHES`."""
    torch.manual_seed(2)
    tokenizer = build_tokenizer(CORPUS, vocabulary=400)
    config = Siglip2Config(
        text_config=_siglip_text(tokenizer).to_dict() | {"model_type": "siglip2_text_model"},
        vision_config={**_TOWER, "patch_size": PATCH_SIZE, "num_patches": 9, "vision_use_head": True},
    )
    images = Siglip2ImageProcessorPil(patch_size=PATCH_SIZE, max_num_patches=NAFLEX_PATCHES)
    return _saved_siglip(folder, Siglip2Model(config), Siglip2Processor(images, tokenizer))


def random_clip(folder: Path, *, squeezed: bool = False) -> Path:
    """With OpenAI's way to take a picture's middle, or else to squeeze it into the square."""
    torch.manual_seed(3)
    tokenizer = clip_tokenizer(CORPUS)
    ids = _ids(tokenizer) | {"vocab_size": len(tokenizer), "max_position_embeddings": MAX_TEXT}
    config = CLIPConfig(
        text_config={**_TOWER, **ids},
        vision_config={**_TOWER, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE},
        projection_dim=WIDTH // 2,
    )
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessorPil(
        size=square if squeezed else {"shortest_edge": IMAGE_SIZE}, crop_size=square, do_center_crop=not squeezed
    )
    model = CLIPModel(config)
    _spread(model)
    return _saved(folder, model, CLIPProcessor(images, tokenizer))


def random_colpali(folder: Path) -> Path:
    """Over PaliGemma's architecture, with its image tokens."""
    torch.manual_seed(2)
    image_processor = _siglip_images(3)
    image_processor.image_seq_length = PATCHES
    processor = ColPaliProcessor(image_processor, build_tokenizer(CORPUS, vocabulary=400))
    text = GemmaConfig(
        **_TOWER,
        vocab_size=len(processor.tokenizer),
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        **_ids(processor.tokenizer),
    )
    vlm = PaliGemmaConfig(
        vision_config=_siglip_vision(head=False),
        text_config=text,
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=8))
    _spread(model)
    return _saved(folder, model, processor)


def random_colqwen2(folder: Path) -> Path:
    """Over Qwen2-VL's architecture, with 2 to 12 image tokens of 8 x 8 pixels a page."""
    torch.manual_seed(4)
    tokenizer = qwen2_tokenizer(CORPUS)
    images = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 2 * 64, "longest_edge": 12 * 64}
    )
    processor = ColQwen2Processor(images, tokenizer)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    vlm = {
        "model_type": "qwen2_vl",
        "image_token_id": processor.image_token_id,
        "text_config": {
            **_TOWER,
            **ids,
            "model_type": "qwen2_vl_text",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 1,
            "max_position_embeddings": 128,
            "rope_parameters": rope,
        },
        "vision_config": {
            "depth": 2,
            "embed_dim": WIDTH,
            "hidden_size": WIDTH,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }
    model = ColQwen2ForRetrieval(ColQwen2Config(vlm_config=vlm, embedding_dim=8))
    _spread(model)
    return _saved(folder, model, processor)


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _siglip_text(tokenizer: PreTrainedTokenizerBase) -> SiglipTextConfig:
    return SiglipTextConfig(
        **_TOWER,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_TEXT,
        projection_size=WIDTH,
        **_ids(tokenizer),
    )


def _siglip_vision(*, head: bool) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        **_TOWER, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, projection_dim=WIDTH, vision_use_head=head
    )


def _siglip_images(resample: int) -> SiglipImageProcessorPil:
    return SiglipImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=resample,
    )


def _saved_siglip(folder: Path, model: SiglipModel | Siglip2Model, processor: ProcessorMixin) -> Path:
    _spread(model)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-10.0)
    return _saved(folder, model, processor)


def _spread(model: nn.Module) -> None:
    """Weights so large that masks, positions and padding show in every vector."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)


def _saved(folder: Path, model: nn.Module, processor: ProcessorMixin) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
