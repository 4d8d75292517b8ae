"""Draws what was found on its picture."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from chiasm.errors import InvalidArgument
from chiasm.results import Box, Detection, Mask

# Okabe and Ito's palette without black: told apart by colour-blind readers too. https://jfly.uni-koeln.de/color/
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def check_writable(path: Path) -> None:
    """Raises InvalidArgument when no picture can be written to `path`: an unknown kind of file, or no such folder."""
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise InvalidArgument(f"cannot write {path}: name it .png or .jpg", reason="FIELD_INVALID", field="out")
    if not path.absolute().parent.is_dir():
        raise InvalidArgument(
            f"cannot write {path}: there is no folder {path.parent}", reason="FIELD_INVALID", field="out"
        )


def write(picture: bytes, detections: Sequence[Detection], path: Path) -> None:
    """Draws, and writes the file. Raises InvalidArgument when the picture cannot be read or the file not written."""
    try:
        drawn = draw(picture, detections)
    except OSError as error:
        message = f"cannot draw in {path}: {error.strerror or error}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field="out") from error
    written(drawn, path)


def written(image: Image.Image, path: Path) -> None:
    """Writes the file, whose name `check_writable` has passed. Raises InvalidArgument when it cannot."""
    try:
        image.save(path)
    except OSError as error:
        message = f"cannot draw in {path}: {error.strerror or error}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field="out") from error


def draw(picture: bytes, detections: Sequence[Detection]) -> Image.Image:
    """The upright picture with a labelled box around each thing, a colour a label, and its mask tinted."""
    with Image.open(io.BytesIO(picture)) as image:
        canvas = ImageOps.exif_transpose(image).convert("RGB")
    colours = _colours(detection.label for detection in detections)
    short_side = min(canvas.size)
    width = max(2, round(short_side / 150))
    font = ImageFont.load_default(max(10, round(short_side / 28)))
    for detection in detections:
        if detection.mask:
            _tint(canvas, detection.mask, colours[detection.label])
    pen = ImageDraw.Draw(canvas)
    for detection in detections:
        box = detection.box
        pen.rectangle((box.x_min, box.y_min, box.x_max, box.y_max), outline=colours[detection.label], width=width)
    for detection in detections:  # after every box, so that no line crosses a label
        _write_label(pen, detection, colours[detection.label], font, canvas.size)
    return canvas


def _colours(labels: Iterable[str]) -> dict[str, str]:
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(dict.fromkeys(labels))}


def _tint(canvas: Image.Image, mask: Mask, colour: str) -> None:
    with Image.open(io.BytesIO(mask.png)) as png:
        half = png.convert("L").point(lambda value: value // 2)
    canvas.paste(Image.new("RGB", half.size, colour), (mask.x, mask.y), half)


def _write_label(
    pen: ImageDraw.ImageDraw, detection: Detection, colour: str, font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> None:
    """Above the box, or inside its top where there is no room; never beyond the picture's edge."""
    text = detection.label if detection.confidence is None else f"{detection.label} {detection.confidence:.2f}"
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    margin = max(2, round((bottom - top) / 4))
    wide, high = right - left + 2 * margin, bottom - top + 2 * margin
    box: Box = detection.box
    x = max(0, min(box.x_min, size[0] - wide))
    y = box.y_min - high if box.y_min >= high else max(0, min(box.y_min, size[1] - high))
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    pen.text((x + margin - left, y + margin - top), text, fill=_ink(colour), font=font)


def _ink(colour: str) -> str:
    """Black or white, whichever reads better on `colour`."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
