"""Boxes and masks drawn on the picture."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

from google.protobuf.message import Message
from PIL import Image, ImageColor

from chiasm.command.draw import PALETTE, draw
from chiasm.results import Box, Detection, Mask
from chiasm.v1 import media_pb2 as media

from . import scripted
from .conftest import run_command
from .scripted import Context, Scripted, finished, started

FIRST, SECOND = (ImageColor.getrgb(colour) for colour in PALETTE[:2])
WHITE = (255, 255, 255)


async def test_detect_prints_and_draws_what_was_found(server: Scripted, picture: Path, tmp_path: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        yield finished(
            scripted.found("circle", 20, 30, 80, 90, confidence=0.75), scripted.found("square", 120, 40, 180, 95)
        )

    server.stream = script
    out = tmp_path / "boxes.png"
    ended = await run_command("detect", str(picture), "circle ; square", "--out", str(out), "--address", server.address)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "circle  (20, 30) to (80, 90)  confidence 0.75",
        "square  (120, 40) to (180, 95)",
    ]
    assert f"drawn in {out}" in ended.err
    with Image.open(out) as drawn:
        assert drawn.size == (200, 100)
        for corner in ((20, 90), (80, 90), (80, 60)):
            assert drawn.getpixel(corner) == FIRST
        for corner in ((120, 95), (180, 95), (180, 60)):
            assert drawn.getpixel(corner) == SECOND
        assert drawn.getpixel((50, 60)) == drawn.getpixel((5, 95)) == WHITE


async def test_segment_tints_the_mask(server: Scripted, picture: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (40, 40), 0)
    mask.paste(255, (10, 10, 30, 30))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")

    async def script(context: Context) -> AsyncIterator[Message]:
        detection = scripted.found("circle", 100, 50, 140, 90)
        detection.mask.CopyFrom(media.Mask(png=buffer.getvalue(), x=100, y=50))
        yield started()
        yield finished(detection)

    server.stream = script
    out = tmp_path / "mask.jpg"
    ended = await run_command("segment", str(picture), "circle", "--out", str(out), "--address", server.address)
    assert ended.code == 0
    with Image.open(out) as drawn:
        red, _, blue = drawn.getpixel((120, 70))
        assert red > 220
        assert 90 < blue < 160


async def test_nothing_found_is_said(server: Scripted, picture: Path) -> None:
    ended = await run_command("detect", str(picture), "circle", "--address", server.address)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("nothing was found\n")


def test_a_turned_photograph_is_drawn_upright() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.new("RGB", (300, 200), "white").save(buffer, "JPEG", exif=exif)
    drawn = draw(buffer.getvalue(), [Detection("thing", Box(50, 150, 150, 290))])
    assert drawn.size == (200, 300)
    assert drawn.getpixel((50, 289)) == FIRST


def test_lines_grow_with_the_picture_and_labels_stay_inside() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1500, 1500), "white").save(buffer, "PNG")
    drawn = draw(buffer.getvalue(), [Detection("a long label at the edge", Box(1400, 2, 1499, 1400), None, 0.5)])
    assert drawn.getpixel((1405, 1000)) == FIRST
    assert drawn.getpixel((1415, 1000)) == WHITE
    assert drawn.getpixel((1100, 8)) == FIRST  # the label has moved left, to where there is room


def test_a_mask_hides_its_bytes() -> None:
    assert "secret" not in repr(Mask(b"secret", 0, 0))
