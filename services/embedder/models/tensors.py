"""Pictures into tensors, and tensors into vectors."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers.image_processing_utils import BaseImageProcessor

from services.embedder.models.model import Vectors


class PixelScaler:
    """What transformers' SigLIP image processor does to pictures of the right size, a batch at once on the device."""

    def __init__(self, processor: BaseImageProcessor, device: torch.device) -> None:
        self._device = device
        self._factor = processor.rescale_factor
        self._mean = torch.tensor(processor.image_mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(processor.image_std, device=device).view(1, 3, 1, 1)

    def scale(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """[images, 3, side, side] in float32."""
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return (pixels.to(self._device).permute(0, 3, 1, 2) * self._factor - self._mean) / self._std


def to_vectors(embeddings: torch.Tensor, mask: torch.Tensor | None = None) -> list[Vectors]:
    """The items of [items, dimensions] or [items, vectors, dimensions], each vector brought to length 1.

    `mask` is [items, vectors], and 0 where a vector stands for padding: those are left out.
    """
    unit = F.normalize(embeddings.float(), dim=-1).cpu()
    items = unit if mask is None else [rows[kept] for rows, kept in zip(unit, mask.bool().cpu(), strict=True)]
    return [item.numpy() for item in items]
