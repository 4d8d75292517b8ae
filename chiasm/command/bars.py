"""Draws a picture with the probabilities of its labels beside it."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from chiasm.classification import LabelScore
from chiasm.command.draw import PALETTE, written
from chiasm.command.lettering import cut

HEIGHT = 360
LABEL = 320
"""Most pixels of a label's width."""
_BAR, _GAP, _LINE, _FONT = 320, 24, 34, 16


def write_bars(picture: bytes, scores: Sequence[LabelScore], path: Path) -> None:
    """Writes the file, which `draw.check_writable` has passed. Raises InvalidArgument when it cannot."""
    written(draw_bars(picture, scores), path)


def draw_bars(picture: bytes, scores: Sequence[LabelScore]) -> Image.Image:
    """The upright picture, and to the right of it a bar for each label, the likeliest first."""
    with Image.open(io.BytesIO(picture)) as image:
        shown = ImageOps.contain(ImageOps.exif_transpose(image).convert("RGB"), (2 * HEIGHT, HEIGHT))
    font = ImageFont.load_default(_FONT)
    labels = [cut(score.label, LABEL, font) for score in scores]
    label_width = max(map(font.getlength, labels), default=0)
    high = max(shown.height, len(scores) * _LINE) + 2 * _GAP
    wide = round(shown.width + label_width + _BAR + font.getlength("0.000") + 5 * _GAP)
    canvas = Image.new("RGB", (wide, high), "white")
    canvas.paste(shown, (_GAP, (high - shown.height) // 2))
    pen = ImageDraw.Draw(canvas)
    left = shown.width + 2 * _GAP
    bars = round(left + label_width + _GAP)
    for place, (label, score) in enumerate(zip(labels, scores, strict=True)):
        middle = (high - len(scores) * _LINE) // 2 + place * _LINE + _LINE // 2
        pen.text((left + label_width, middle), label, fill="#1a1a1a", font=font, anchor="rm")
        length = max(2, round(_BAR * score.probability))
        pen.rectangle((bars, middle - 10, bars + length, middle + 10), fill=PALETTE[1])
        pen.text((bars + length + 8, middle), f"{score.probability:.3f}", fill="#6b6b6b", font=font, anchor="lm")
    return canvas
