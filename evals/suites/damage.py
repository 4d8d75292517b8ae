"""Pictures of the tiny world as they should not come, but do: speckled, blurred, tilted."""

import io
import random
from collections.abc import Callable
from functools import partial

from PIL import Image, ImageFilter

from evals.suite import Picture
from evals.suites.tiny import SIDE, Drawable

Damage = Callable[[Image.Image], Image.Image]


def damaged(world: Drawable, *damages: Damage) -> Picture:
    """Draws it when it is needed, damages it, and gives a PNG."""

    def png() -> bytes:
        picture = world.draw(SIDE, SIDE)
        for damage in damages:
            picture = damage(picture)
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()

    return png


def speckled(share: float, seed: str) -> Damage:
    """So many times as there are pixels, one gets a colour of its own."""
    return partial(_speckled, share, seed)


def blurred(radius: float) -> Damage:
    """By so many pixels."""
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(radius))


def tilted(degrees: float) -> Damage:
    """To the left, on the ground that its corner has."""
    return lambda picture: picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=picture.getpixel((0, 0)))


def _speckled(share: float, seed: str, picture: Image.Image) -> Image.Image:
    rng = random.Random(seed)
    pixels = picture.load()
    for _ in range(round(share * picture.width * picture.height)):
        pixels[rng.randrange(picture.width), rng.randrange(picture.height)] = tuple(rng.randbytes(3))
    return picture
