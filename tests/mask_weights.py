"""Random weights for PaliGemma's mask decoder, as Google's vae-oid.npz has them, and the decoder as PyTorch modules."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


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


def write_mask_weights(file: Path) -> tuple[nn.Sequential, np.ndarray]:
    """Writes `file`; the decoder that has its weights, and the codebook (128, 512)."""
    torch.manual_seed(0)
    model, codebook = reference(), np.random.default_rng(0).standard_normal((128, 512)).astype(np.float32)
    arrays = {f"decoder.{name}": value.numpy() for name, value in model.state_dict().items()}
    np.savez(file, **arrays, **{"_vq_vae._embedding": codebook})
    return model, codebook
