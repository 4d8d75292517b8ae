"""Words drawn into pictures, and where each of their letters stands."""

from dataclasses import dataclass
from functools import cache

from PIL import ImageDraw, ImageFont

_MEASURED_AT = 256  # pixels; advances are proportional to the size from there on


@dataclass(frozen=True)
class Text:
    """A line of text. All but `text` in fractions of the picture: left edge, middle line, size of the font."""

    text: str
    left: float
    middle: float
    size: float

    @property
    def width(self) -> float:
        return _advance(self.text) * self.size

    @property
    def right(self) -> float:
        return self.left + self.width

    def letters(self) -> list[tuple[str, float]]:
        """Each letter with the middle of its place from left to right, as a fraction of the width."""
        ends = [self.left + _advance(self.text[:i]) * self.size for i in range(len(self.text) + 1)]
        return [(letter, (ends[i] + ends[i + 1]) / 2) for i, letter in enumerate(self.text)]

    def draw(self, pen: ImageDraw.ImageDraw, width: int, height: int, color: tuple[int, int, int]) -> None:
        pen.text((self.left * width, self.middle * height), self.text, color, _font(self.size * height), anchor="lm")


def centered(text: str, center: float, middle: float, size: float) -> Text:
    return Text(text, center - _advance(text) * size / 2, middle, size)


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own font, the same on every machine."""
    return ImageFont.load_default(size)


@cache
def _advance(text: str) -> float:
    """Width in units of the font's size."""
    return _font(_MEASURED_AT).getlength(text) / _MEASURED_AT
