from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.paligemma.locations import Box
from services.paligemma.masks import MaskDecoder, place_mask
from tests.mask_weights import write_mask_weights


def test_decodes_as_the_reference_modules_do(tmp_path: Path) -> None:
    file = tmp_path / "vae-oid.npz"
    model, codebook = write_mask_weights(file)
    codes = tuple(range(0, 128, 8))
    grid = torch.from_numpy(codebook[list(codes)]).reshape(1, 4, 4, 512).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(grid)[0, 0].numpy()
    decoded = MaskDecoder(file).decode(codes)
    assert decoded.shape == (64, 64)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)


def test_a_file_that_is_not_the_decoder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.npz"
    np.savez(file, something=np.zeros(3))
    with pytest.raises(ValueError, match=r"lacks _vq_vae\._embedding"):
        MaskDecoder(file)
    file.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="not a readable"):
        MaskDecoder(file)
    with pytest.raises(ValueError, match="not a readable"):
        MaskDecoder(tmp_path / "absent.npz")


def test_a_mask_is_placed_in_its_box() -> None:
    left_half = np.where(np.arange(64)[None, :] < 32, 1.0, -1.0) * np.ones((64, 1))
    placed = place_mask(left_half, Box(10.2, 20.0, 49.5, 60.0), width=100, height=100)
    pixels = np.asarray(Image.open(BytesIO(placed.png)))
    assert (placed.x, placed.y, pixels.shape) == (10, 20, (40, 40))
    assert (pixels[:, :18] == 255).all()
    assert (pixels[:, 22:] == 0).all()
