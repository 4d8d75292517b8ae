"""Pictures as parts: what is embedded, and the preview."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from chiasm.v1 import errors_pb2
from services.embedder.documents.part import Part, Refused
from services.embedder.documents.pictures import picture_part
from services.runtime.media import ImageLimits, decode
from services.runtime.media_types import sniff
from tests.media_files import picture, turned_picture
from tests.pictures import encoded, png_16_bit, png_header, scene_png

LIMITS = ImageLimits()


def part_of(data: bytes, limits: ImageLimits = LIMITS) -> Part:
    part = picture_part(data, sniff(data).mime_type, limits)
    assert (part.kind, part.number) == ("picture", 0)
    # Whatever is embedded is what models read.
    decode(part.picture, field="media", limits=LIMITS)
    return part


def shown(part: Part) -> Image.Image:
    image = Image.open(BytesIO(part.preview))
    assert image.format == "JPEG"
    assert max(image.size) <= 1_024
    return image.convert("RGB")


def color(image: Image.Image, x: float, y: float) -> np.ndarray:
    """At a place given as shares of the width and the height."""
    return np.array(image.getpixel((int(x * image.width), int(y * image.height))), float)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_embedded_as_it_is(format: str) -> None:
    data = picture(format, 320, 200)
    part = part_of(data)
    assert part.picture is data
    assert (part.width, part.height) == (320, 200)
    assert shown(part).size == (320, 200)
    assert np.allclose(color(shown(part), 0.5, 0.5), (200, 120, 40), atol=8)


def test_a_preview_looks_like_its_picture() -> None:
    scene, data = scene_png(width=3_000, height=1_500)
    part = part_of(encoded(scene.draw(3_000, 1_500), "JPEG", quality=95))
    assert shown(part).size == (1_024, 512)
    assert (part.width, part.height) == (3_000, 1_500)
    wanted = Image.open(BytesIO(data)).resize((1_024, 512), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(shown(part), float) - np.asarray(wanted, float)).mean() < 2


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_turned_picture_is_upright(format: str) -> None:
    part = part_of(turned_picture(format, 2_400, 1_200))
    assert (part.width, part.height) == (1_200, 2_400)
    assert shown(part).size == (512, 1_024)


def test_a_turned_picture_is_turned_the_right_way() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    left_red = Image.new("RGB", (400, 200), "blue")
    left_red.paste((255, 0, 0), (0, 0, 200, 200))
    image = shown(part_of(encoded(left_red, exif=exif)))
    assert np.allclose(color(image, 0.5, 0.2), (255, 0, 0), atol=20)
    assert np.allclose(color(image, 0.5, 0.8), (0, 0, 255), atol=20)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_stands_on_white(mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 32, 64))
    part = part_of(encoded(image.convert(mode)))
    assert part.picture == part.preview
    assert np.allclose(color(shown(part), 0.9, 0.5), (255, 255, 255), atol=8)
    assert np.allclose(color(shown(part), 0.1, 0.5), (0, 0, 0), atol=8)


def test_16_bit_and_cmyk_pictures_stand_as_rgb() -> None:
    grey = Image.fromarray(np.full((64, 64), 128 * 256 + 7, np.uint16))
    assert np.allclose(color(shown(part_of(encoded(grey))), 0.5, 0.5), (128, 128, 128), atol=8)
    assert np.allclose(color(shown(part_of(png_16_bit())), 0.5, 0.5), (0, 0, 0), atol=8)
    cmyk = Image.new("RGB", (64, 64), (250, 10, 10)).convert("CMYK")
    assert np.allclose(color(shown(part_of(encoded(cmyk, "JPEG"))), 0.5, 0.5), (250, 10, 10), atol=12)


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_stands(format: str) -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "lime")]
    part = part_of(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert np.allclose(color(shown(part), 0.5, 0.5), (255, 0, 0), atol=12)


def test_a_thin_picture_keeps_two_pixels() -> None:
    part = part_of(encoded(Image.new("RGBA", (8_000, 2))))
    assert shown(part).size == (1_024, 2)
    assert (part.width, part.height) == (8_000, 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png_header(60_000, 70_000), errors_pb2.ERROR_REASON_MEDIA_SIZE),
        (picture("PNG", 1, 1), errors_pb2.ERROR_REASON_MEDIA_SIZE),
        (picture("JPEG", 900, 900)[:-2_000], errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
        (picture("PNG", 900, 900)[:-2_000], errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
        (b"\x89PNG\r\n\x1a\n", errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
    ],
    ids=["bomb", "1x1", "cut JPEG", "cut PNG", "signature alone"],
)
def test_what_cannot_be_read_is_refused(data: bytes, reason: int) -> None:
    with pytest.raises(Refused) as caught:
        part_of(data)
    assert caught.value.refusal.reason == reason
