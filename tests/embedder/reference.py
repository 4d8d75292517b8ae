"""The same checkpoints run by transformers alone, as its documentation shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import (
    AutoProcessor,
    CLIPModel,
    ColPaliForRetrieval,
    ColQwen2ForRetrieval,
    Siglip2Model,
    SiglipModel,
)


@torch.no_grad()
def siglip_texts(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """[texts, dimensions]; the texts in lower case."""
    inputs = AutoProcessor.from_pretrained(folder)(
        text=list(texts), padding="max_length", max_length=_siglip(folder).config.text_config.max_position_embeddings
    )
    return _unit(_siglip(folder).get_text_features(torch.tensor(inputs["input_ids"])).pooler_output)


@torch.no_grad()
def siglip_images(folder: Path, images: Sequence[Image.Image]) -> np.ndarray:
    """[images, dimensions]"""
    inputs = AutoProcessor.from_pretrained(folder)(images=list(images), return_tensors="pt")
    return _unit(_siglip(folder).get_image_features(**inputs).pooler_output)


@torch.no_grad()
def siglip_probabilities(folder: Path, texts: Sequence[str], images: Sequence[Image.Image]) -> np.ndarray:
    """[images, texts]; the texts in lower case."""
    model = _siglip(folder)
    inputs = AutoProcessor.from_pretrained(folder)(
        text=list(texts),
        images=list(images),
        padding="max_length",
        max_length=model.config.text_config.max_position_embeddings,
        return_tensors="pt",
    )
    logits = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"]).logits_per_image
    return torch.sigmoid(logits).numpy()


@torch.no_grad()
def colpali_queries(folder: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """[vectors, dimensions] each, one by one, so that nothing is padded."""
    model, processor = ColPaliForRetrieval.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    return [model(**processor.process_queries([text])).embeddings[0].numpy() for text in texts]


@torch.no_grad()
def colpali_pages(folder: Path, images: Sequence[Image.Image]) -> list[np.ndarray]:
    """[vectors, dimensions] each."""
    model, processor = ColPaliForRetrieval.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor.process_images(list(images))
    inputs.pop("labels")
    return list(model(**inputs).embeddings.numpy())


@torch.no_grad()
def naflex_texts(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """[texts, dimensions]; the texts in lower case."""
    model, processor = Siglip2Model.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    most = model.config.text_config.max_position_embeddings
    inputs = processor(text=list(texts), padding="max_length", max_length=most)
    return _unit(model.get_text_features(torch.tensor(inputs["input_ids"])).pooler_output)


@torch.no_grad()
def naflex_images(folder: Path, images: Sequence[Image.Image], *, most_patches: int) -> np.ndarray:
    """[images, dimensions]"""
    model, processor = Siglip2Model.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor(
        images=list(images),
        patch_size=model.config.vision_config.patch_size,
        max_num_patches=most_patches,
        return_tensors="pt",
    )
    return _unit(model.get_image_features(**inputs).pooler_output)


@torch.no_grad()
def clip_texts(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """[texts, dimensions]"""
    model, processor = CLIPModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor(text=list(texts), padding=True, return_tensors="pt")
    return _unit(model.get_text_features(**inputs).pooler_output)


@torch.no_grad()
def clip_images(folder: Path, images: Sequence[Image.Image]) -> np.ndarray:
    """[images, dimensions]"""
    model, processor = CLIPModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    return _unit(model.get_image_features(**processor(images=list(images), return_tensors="pt")).pooler_output)


@torch.no_grad()
def clip_probabilities(folder: Path, texts: Sequence[str], images: Sequence[Image.Image]) -> np.ndarray:
    """[images, texts]"""
    model, processor = CLIPModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor(text=list(texts), images=list(images), padding=True, return_tensors="pt")
    return model(**inputs).logits_per_image.softmax(dim=-1).numpy()


@torch.no_grad()
def colqwen2_queries(folder: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """[vectors, dimensions] each, one by one, so that nothing is padded."""
    model, processor = ColQwen2ForRetrieval.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    return [model(**processor.process_queries([text])).embeddings[0].numpy() for text in texts]


@torch.no_grad()
def colqwen2_pages(folder: Path, images: Sequence[Image.Image]) -> list[np.ndarray]:
    """[vectors, dimensions] each, one by one, so that nothing is padded."""
    model, processor = ColQwen2ForRetrieval.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    return [model(**processor.process_images([image])).embeddings[0].numpy() for image in images]


def _siglip(folder: Path) -> SiglipModel:
    return SiglipModel.from_pretrained(folder)


def _unit(rows: torch.Tensor) -> np.ndarray:
    return F.normalize(rows, dim=-1).numpy()
