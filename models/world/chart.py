"""Bar charts: a title, an axis from 0 to 10, three or four labelled bars of whole height."""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.world.lettering import Text, centered
from models.world.lexicon import MONTHS, WORDS
from models.world.scene import COLORS

MAX_VALUE = 10
_INK, _GRID = (30, 30, 30), (205, 205, 205)
_LEFT, _WIDTH = 0.17, 0.81  # of the plot
_UNIT = 0.0625  # height of a value of 1


@dataclass(frozen=True)
class Bar:
    """`box` is (xmin, ymin, xmax, ymax) as fractions of the picture; `value` a whole number from 1 to 10."""

    label: Text
    value: int
    color: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class BarChart:
    """Bars from left to right over a base line at the height `base`."""

    title: Text
    bars: tuple[Bar, ...]
    base: float

    def draw(self, width: int, height: int) -> Image.Image:
        """An RGB picture of `width` x `height` pixels."""
        picture = Image.new("RGB", (width, height), (255, 255, 255))
        pen = ImageDraw.Draw(picture)
        thick = max(1, round(height / 128))
        for tick in (0, 5, 10):
            y = (self.base - tick * _UNIT) * height
            pen.line((_LEFT * width, y, (_LEFT + _WIDTH) * width, y), _GRID if tick else _INK, thick)
            label = Text(str(tick), 0, y / height, 0.075)
            Text(label.text, _LEFT - 0.02 - label.width, label.middle, label.size).draw(pen, width, height, _INK)
        for bar in self.bars:
            xmin, ymin, xmax, ymax = bar.box
            pen.rectangle((xmin * width, ymin * height, xmax * width - 1, ymax * height - 1), COLORS[bar.color])
            bar.label.draw(pen, width, height, _INK)
        self.title.draw(pen, width, height, _INK)
        return picture


def sample_chart(seed: int) -> BarChart:
    """The chart of `seed`; its labels are months, all different."""
    rng = random.Random(seed)
    count = rng.choice((3, 3, 4))
    base = rng.uniform(0.835, 0.855)
    slot = _WIDTH / count
    color = rng.choice(list(COLORS))
    bars = []
    for i, month in enumerate(sorted(rng.sample(MONTHS, count), key=MONTHS.index)):
        value, center = rng.randint(1, MAX_VALUE), _LEFT + (i + 0.5) * slot
        box = (center - 0.28 * slot, base - value * _UNIT, center + 0.28 * slot, base)
        bars.append(Bar(centered(month, center, base + 0.075, 0.095), value, color, box))
    return BarChart(centered(rng.choice(WORDS), 0.5 + rng.uniform(-0.1, 0.1), 0.08, 0.12), tuple(bars), base)
