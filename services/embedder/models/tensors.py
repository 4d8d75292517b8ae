"""Pictures into tensors, and tensors into vectors."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers.image_processing_utils import BaseImageProcessor

from services.embedder.models.model import Vectors
from services.runtime.config import BadSetting
from services.runtime.errors import Internal


class PixelScaler:
    """What transformers' image processors do to the numbers of pictures, on the device.

    Raises BadSetting for a processor that leaves a step out.
    """

    def __init__(self, processor: BaseImageProcessor, device: torch.device) -> None:
        if not (processor.do_resize and processor.do_rescale and processor.do_normalize):
            raise BadSetting("models", "a checkpoint's pictures must be resized, rescaled and normalised")
        self._device = device
        self._factor = processor.rescale_factor
        self._mean = torch.tensor(processor.image_mean, device=device)
        self._std = torch.tensor(processor.image_std, device=device)

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [..., 3] to float32."""
        return (pixels.to(self._device) * self._factor - self._mean) / self._std

    def pictures(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """[images, 3, height, width] in float32. They are of one size."""
        stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return self.scale(stacked).permute(0, 3, 1, 2)


def to_pixels(image: Image.Image) -> torch.Tensor:
    """uint8 [height, width, 3]."""
    return torch.from_numpy(np.array(image))


def padded(rows: Sequence[torch.Tensor], value: int = 0, *, side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, longest, ...] with `value` at the `side` of shorter ones, and a mask [rows, longest] that is 0 there."""
    mask = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows]
    return pad_sequence(rows, True, value, padding_side=side), pad_sequence(mask, True, padding_side=side)


def to_vectors(embeddings: torch.Tensor, mask: torch.Tensor | None = None) -> list[Vectors]:
    """The items of [items, dimensions] or [items, vectors, dimensions], each vector brought to length 1.

    `mask` is [items, vectors], and 0 where a vector stands for padding: those are left out. Raises Internal where a
    number is not finite.
    """
    unit = F.normalize(embeddings.float(), dim=-1).cpu().numpy()
    # Copies: a view would keep its whole batch alive.
    if mask is None:
        items = [row.copy() for row in unit]
    else:
        items = [rows[kept] for rows, kept in zip(unit, mask.bool().cpu().numpy(), strict=True)]
    if not all(np.isfinite(item).all() for item in items):
        raise Internal("the model gave numbers that are not finite")
    return items
