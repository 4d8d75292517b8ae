"""Draws which parts of a page each word of a query matched (late interaction)."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageOps

from chiasm.search import Hit

SIDE = 512
"""Pixels of a panel's longer side."""
_COLD, _WARM, _HOT = "#2b0a45", "#d1495b", "#ffe169"
_COVER = 0.62
"""How much of the page the colours hide."""
_SHARPNESS = 0.05
"""Of a dot product, what makes a patch e times as much a word's own."""


@dataclass(frozen=True)
class Panel:
    """A page with a word's heat over it."""

    word: str
    score: float
    image: Image.Image


def heat_panels(hit: Hit) -> Iterator[Panel]:
    """Of all words together, then of each in its order. None where the hit does not say."""
    if hit.picture is None or not hit.words:
        return
    with Image.open(io.BytesIO(hit.picture)) as image:
        page = ImageOps.contain(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    shares = [_shares(match.heat) for match in hit.words]
    together = [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*shares, strict=True)]
    yield Panel("all words", sum(match.score for match in hit.words), _over(page, together, max(map(max, together))))
    most = max(match.score for match in hit.words)
    for match in hit.words:
        yield Panel(match.word, match.score, _over(page, match.heat, most))


def _shares(heat: Sequence[Sequence[float]]) -> list[list[float]]:
    """What of a word each patch has, 1 in all: a word that matches everywhere vanishes beside one that does not."""
    weights = [[math.exp(value / _SHARPNESS) for value in row] for row in heat]
    whole = sum(map(sum, weights))
    return [[weight / whole for weight in row] for row in weights]


def _over(page: Image.Image, heat: Sequence[Sequence[float]], most: float) -> Image.Image:
    """The page in grey under the heat, from 0 and less to `most`."""
    patches = Image.new("L", (len(heat[0]), len(heat)))
    scale = 255 / most if most > 0 else 0.0
    patches.putdata([round(max(0.0, value) * scale) for row in heat for value in row])
    grown = patches.resize(page.size, Image.Resampling.BICUBIC)
    colours = ImageOps.colorize(grown, _COLD, _HOT, _WARM)
    cover = ImageChops.multiply(grown.point(lambda value: 110 + value * 145 // 255), _flat(page.size))
    return Image.composite(colours, ImageOps.grayscale(page).convert("RGB"), cover)


def _flat(size: tuple[int, int]) -> Image.Image:
    return Image.new("L", size, round(255 * _COVER))
