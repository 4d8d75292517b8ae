"""Turn 16 segment codes into a 64x64 mask: the decoder of PaliGemma's VQ-VAE.

Weights are `vae-oid.npz` from Google's big_vision bucket; layers as in big_vision
`evaluators/proj/paligemma/transfers/segmentation.py`.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from services.paligemma.locations import CODES_PER_MASK, SEG_TOKENS, Box
from services.runtime.config import BadSetting

_GRID = 4
_WIDTH = 512
_CODEBOOK = "_vq_vae._embedding"


@dataclass(frozen=True)
class PlacedMask:
    """An 8-bit greyscale PNG, 255 inside, whose top left corner lies at (x, y) of the picture."""

    png: bytes
    x: int
    y: int


class MaskDecoder:
    """The VQ-VAE's decoder. `decode` may be called from any thread."""

    def __init__(self, file: Path) -> None:
        """Raises BadSetting naming what is wrong with `file`."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                self._weights = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
        except (OSError, ValueError) as error:
            raise _bad(f"{file} is not a readable .npz file of mask decoder weights") from error
        if missing := [name for name in _names() if name not in self._weights]:
            raise _bad(f"{file} lacks {', '.join(missing[:3])}: is it Google's vae-oid.npz?")
        if self._weights[_CODEBOOK].shape != (SEG_TOKENS, _WIDTH):
            raise _bad(f"{file}: the codebook is {tuple(self._weights[_CODEBOOK].shape)}, not {(SEG_TOKENS, _WIDTH)}")

    @torch.inference_mode()
    def decode(self, codes: tuple[int, ...]) -> np.ndarray:
        """(64, 64) floats in about [-1, 1], positive inside, for 16 codes of 0 to 127."""
        if len(codes) != CODES_PER_MASK:
            raise ValueError(f"{len(codes)} codes, not {CODES_PER_MASK}")
        w = self._weights
        x = w[_CODEBOOK][list(codes)].reshape(1, _GRID, _GRID, _WIDTH).permute(0, 3, 1, 2)
        x = F.relu(self._convolve(x, "decoder.0"))
        for block in ("decoder.2.net", "decoder.3.net"):
            y = F.relu(self._convolve(x, f"{block}.0", padding=1))
            y = F.relu(self._convolve(y, f"{block}.2", padding=1))
            x = x + self._convolve(y, f"{block}.4")
        for layer in (4, 6, 8, 10):
            name = f"decoder.{layer}"
            x = F.relu(F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1))
        return self._convolve(x, "decoder.12")[0, 0].numpy()

    def _convolve(self, x: torch.Tensor, name: str, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], padding=padding)


def place_mask(mask: np.ndarray, box: Box, width: int, height: int) -> PlacedMask:
    """Resize `mask` bilinearly into `box`, rounded outwards to whole pixels of a `width` x `height` picture."""
    x, y = max(0, math.floor(box.x_min)), max(0, math.floor(box.y_min))
    right, bottom = min(width, math.ceil(box.x_max)), min(height, math.ceil(box.y_max))
    soft = Image.fromarray(mask.astype(np.float32)).resize((right - x, bottom - y), Image.Resampling.BILINEAR)
    out = BytesIO()
    Image.fromarray((np.asarray(soft) > 0).astype(np.uint8) * np.uint8(255)).save(out, "PNG")
    return PlacedMask(out.getvalue(), x, y)


def _names() -> list[str]:
    layers = [
        "decoder.0",
        *(f"decoder.{b}.net.{n}" for b in (2, 3) for n in (0, 2, 4)),
        *(f"decoder.{n}" for n in (4, 6, 8, 10, 12)),
    ]
    return [_CODEBOOK, *(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))]


def _bad(message: str) -> BadSetting:
    return BadSetting("mask_decoder_file", message)
