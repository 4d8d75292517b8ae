from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from services.paligemma.locations import Box
from services.paligemma.masks import MaskDecoder, place_mask


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.net(x)


def reference() -> nn.Sequential:
    """The decoder as PyTorch modules, whose parameter names are the file's."""
    ups = [(128, 128), (128, 64), (64, 32), (32, 16)]
    layers: list[nn.Module] = [nn.Conv2d(512, 128, 1), nn.ReLU(), Residual(), Residual()]
    for ins, outs in ups:
        layers += [nn.ConvTranspose2d(ins, outs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 1))


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, nn.Sequential, np.ndarray]:
    torch.manual_seed(0)
    model, codebook = reference(), np.random.default_rng(0).standard_normal((128, 512)).astype(np.float32)
    file = tmp_path / "vae-oid.npz"
    arrays = {f"decoder.{name}": value.numpy() for name, value in model.state_dict().items()}
    np.savez(file, **arrays, **{"_vq_vae._embedding": codebook})
    return file, model, codebook


def test_decodes_as_the_reference_modules_do(weights: tuple[Path, nn.Sequential, np.ndarray]) -> None:
    file, model, codebook = weights
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
