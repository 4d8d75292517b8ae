"""Pictures of the tiny world as the models take them."""

import random

import numpy as np
import torch
from PIL import Image
from transformers import SiglipImageProcessor

from models.world.scene import HELD_OUT_SEEDS, Scene
from models.world.tasks import World

IMAGE_SIZE = 128
PATCH_SIZE = 16
GRID = IMAGE_SIZE // PATCH_SIZE
IMAGE_TOKENS = GRID**2

DRAWN_AT = (256, 256)
SCENES_DRAWN_AT = (DRAWN_AT, DRAWN_AT, (256, 192), (192, 256), (320, 240))


def drawn_at(world: World, rng: random.Random) -> tuple[int, int]:
    """Width and height of the picture before it is made the model's; text is always square."""
    return rng.choice(SCENES_DRAWN_AT) if isinstance(world, Scene) else DRAWN_AT


def pixels(world: World, rng: random.Random) -> torch.Tensor:
    """(3, size, size) in [-1, 1], resized bicubically as transformers' SigLIP processor does."""
    picture = world.draw(*drawn_at(world, rng)).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def train_seed(stage: int, step: int, index: int) -> int:
    """A seed that no other (stage, step, index) has and the held-out pictures have not."""
    return HELD_OUT_SEEDS + stage * 1_000_000_000 + step * 1_000 + index


def build_image_processor() -> SiglipImageProcessor:
    return SiglipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
