"""The tiny world: pictures of a few coloured shapes on a pale ground, drawn from a seed.

The tiny checkpoints are trained on this world and tests ask about it. A seed fixes a scene
exactly; seeds below `HELD_OUT_SEEDS` are never trained on.
"""

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

HELD_OUT_SEEDS = 1_000_000

SHAPES = ("circle", "square", "triangle", "star")
COLORS = {
    "red": (214, 39, 40),
    "green": (44, 150, 50),
    "blue": (38, 84, 214),
    "yellow": (240, 212, 32),
    "purple": (132, 48, 160),
    "orange": (248, 130, 20),
}
GROUNDS = ((255, 255, 255), (240, 240, 240), (250, 244, 228), (226, 236, 248), (232, 246, 232))
MAX_THINGS = 4
# In fractions of the picture: between two things, and between their middles from left to right.
GAP, ORDER_GAP = 0.02, 0.04


@dataclass(frozen=True)
class Thing:
    """One shape. `box` is (xmin, ymin, xmax, ymax) as fractions of the picture, in [0, 1]."""

    shape: str
    color: str
    box: tuple[float, float, float, float]

    @property
    def center(self) -> tuple[float, float]:
        xmin, ymin, xmax, ymax = self.box
        return (xmin + xmax) / 2, (ymin + ymax) / 2


@dataclass(frozen=True)
class Scene:
    """Things from left to right on a ground colour."""

    things: tuple[Thing, ...]
    ground: tuple[int, int, int]

    def draw(self, width: int, height: int) -> Image.Image:
        """An RGB picture of `width` x `height` pixels."""
        picture = Image.new("RGB", (width, height), self.ground)
        pen = ImageDraw.Draw(picture)
        for thing in self.things:
            draw_shape(pen, thing, width, height)
        return picture


def sample_scene(seed: int) -> Scene:
    """The scene of `seed`: 1 to `MAX_THINGS` shapes that do not overlap."""
    rng = random.Random(seed)
    wanted = rng.randint(1, MAX_THINGS)
    while (things := _place(rng, wanted)) is None:
        pass
    things.sort(key=lambda thing: thing.center)
    return Scene(tuple(things), rng.choice(GROUNDS))


def _place(rng: random.Random, wanted: int) -> list[Thing] | None:
    """`wanted` things that keep their distance, or None where the first ones left no room."""
    things: list[Thing] = []
    for _ in range(20 * wanted):
        size = rng.uniform(0.2, 0.36)
        xmin, ymin = rng.uniform(0.02, 0.98 - size), rng.uniform(0.02, 0.98 - size)
        box = (xmin, ymin, xmin + size, ymin + size)
        thing = Thing(rng.choice(SHAPES), rng.choice(list(COLORS)), box)
        if not any(_too_close(thing, other) for other in things):
            things.append(thing)
            if len(things) == wanted:
                return things
    return None


def _too_close(one: Thing, other: Thing) -> bool:
    """Whether they nearly touch, or leave it open which of them is further to the left."""
    a, b = one.box, other.box
    touch = a[0] < b[2] + GAP and b[0] < a[2] + GAP and a[1] < b[3] + GAP and b[1] < a[3] + GAP
    return touch or abs(one.center[0] - other.center[0]) < ORDER_GAP


def draw_shape(pen: ImageDraw.ImageDraw, thing: Thing, width: int, height: int) -> None:
    """Draw `thing` into a picture of `width` x `height` pixels."""
    xmin, ymin, xmax, ymax = thing.box
    box = xmin, ymin, xmax, ymax = (xmin * width, ymin * height, xmax * width - 1, ymax * height - 1)
    color = COLORS[thing.color]
    match thing.shape:
        case "circle":
            pen.ellipse(box, fill=color)
        case "square":
            pen.rectangle(box, fill=color)
        case "triangle":
            pen.polygon([(xmin, ymax), ((xmin + xmax) / 2, ymin), (xmax, ymax)], fill=color)
        case "star":
            pen.polygon(_star(xmin, ymin, xmax, ymax), fill=color)
        case _:
            raise ValueError(f"no shape is called {thing.shape!r}")


def _star(xmin: float, ymin: float, xmax: float, ymax: float) -> list[tuple[float, float]]:
    """A five-pointed star that touches all four sides of the box."""
    points = [
        (
            math.sin(i * math.pi / 5) * (1.0 if i % 2 == 0 else 0.42),
            -math.cos(i * math.pi / 5) * (1.0 if i % 2 == 0 else 0.42),
        )
        for i in range(10)
    ]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    return [
        (
            xmin + (x - left) / (right - left) * (xmax - xmin),
            ymin + (y - top) / (bottom - top) * (ymax - ymin),
        )
        for x, y in points
    ]
