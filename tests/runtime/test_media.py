import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chiasm.v1.errors_pb2 import ErrorReason
from models.world.scene import sample_scene
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits, Picture, decode_image
from services.runtime.media_types import picture_type
from tests.pictures import bad_images, encoded, png_header, scene_png

FIELD = "messages[0].parts[0].media.data"
BAD = bad_images()


def decode(data: bytes, **options: object) -> Picture:
    options.setdefault("limits", ImageLimits())
    return asyncio.run(decode_image(data, field=FIELD, **options))


def refusal(data: bytes, **options: object) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        decode(data, **options)
    assert caught.value.field == FIELD
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_refused_with_the_field_and_a_reason(name: str) -> None:
    data, reason = BAD[name]
    assert ErrorReason.Name(refusal(data).reason) == f"ERROR_REASON_{reason}"


@pytest.mark.parametrize(
    ("format", "mime"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")],
)
def test_good_images_are_sniffed_and_decoded(format: str, mime: str) -> None:
    data = encoded(sample_scene(7).draw(40, 30), format)
    assert picture_type(data).mime_type == mime
    picture = decode(data, mime_type=mime)
    assert (picture.width, picture.height, picture.image.mode) == (40, 30, "RGB")


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palette_images_become_rgb(mode: str) -> None:
    picture = decode(encoded(Image.new("RGB", (16, 16), "white").convert(mode)))
    assert picture.image.mode == "RGB"
    assert picture.image.getpixel((8, 8)) == (255, 255, 255)


def test_a_stated_type_that_contradicts_the_bytes_is_refused() -> None:
    _, png = scene_png()
    assert refusal(png, mime_type="image/jpeg").reason == ErrorReason.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED


@pytest.mark.parametrize("stated", ["image/jpg", "IMAGE/JPEG", "image/jpeg; q=0.9"])
def test_a_stated_type_may_be_any_of_its_names(stated: str) -> None:
    assert decode(encoded(sample_scene(7).draw(40, 30), "JPEG"), mime_type=stated).width == 40


def test_exif_orientation_turns_the_picture_upright() -> None:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 10, 20))  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise: what was left is then on top
    picture = decode(encoded(image, "PNG", exif=exif))
    assert (picture.width, picture.height) == (20, 40)
    assert picture.image.getpixel((10, 2)) == (255, 0, 0)
    assert picture.image.getpixel((10, 38)) == (0, 0, 255)


def test_resize_keeps_the_original_size_beside() -> None:
    _, png = scene_png(width=320, height=200)
    picture = decode(png, resize=lambda width, height: (112, 112))
    assert picture.image.size == (112, 112)
    assert (picture.width, picture.height) == (320, 200)


@pytest.mark.parametrize("turned", [False, True])
def test_shrinking_on_load_changes_a_jpeg_by_little_and_leaves_its_size(turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    jpeg = encoded(sample_scene(7).draw(801, 603), "JPEG", quality=95, exif=exif)
    options = {"resize": lambda width, height: (90, 40), "limits": ImageLimits()}
    whole, shrunk = (decode(jpeg, shrink_on_load=shrink, **options) for shrink in (False, True))
    assert (shrunk.width, shrunk.height) == (whole.width, whole.height) == ((603, 801) if turned else (801, 603))
    assert shrunk.image.size == (90, 40)
    differences = np.abs(np.asarray(whole.image, np.int16) - np.asarray(shrunk.image, np.int16))
    assert 0 < differences.mean() < 1


@pytest.mark.parametrize(("format", "side"), [("PNG", 800), ("JPEG", 199)])
def test_what_libjpeg_does_not_shrink_is_as_it_was(format: str, side: int) -> None:
    """Below four times the size, half of it would not be twice as large."""
    data = encoded(sample_scene(7).draw(side, side), format)
    images = (decode(data, shrink_on_load=shrink, resize=lambda *_: (50, 50)).image for shrink in (False, True))
    assert next(images) == next(images)


def test_limits_are_bytes_and_pixels() -> None:
    _, png = scene_png(width=100, height=100)
    assert decode(png, limits=ImageLimits(max_pixels=10_000)).width == 100
    assert "9,999 pixels" in refusal(png, limits=ImageLimits(max_pixels=9_999)).message
    assert f"{len(png) - 1:,}" in refusal(png, limits=ImageLimits(max_bytes=len(png) - 1)).message


def test_a_bomb_is_refused_from_its_header() -> None:
    """Were it decoded first, the missing rows would make it MEDIA_CORRUPT."""
    assert refusal(png_header(65_535, 65_535)).reason == ErrorReason.ERROR_REASON_MEDIA_SIZE


def test_decoding_leaves_the_event_loop_free() -> None:
    _, png = scene_png(width=2_000, height=2_000)

    async def count_while_decoding() -> int:
        task = asyncio.create_task(decode_image(png, field=FIELD, limits=ImageLimits()))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        await task
        return turns

    assert asyncio.run(count_while_decoding()) > 10


SAMPLES = [
    encoded(sample_scene(7).draw(32, 32)),
    encoded(sample_scene(7).draw(32, 32), "JPEG"),
    encoded(sample_scene(7).draw(32, 32), "GIF"),
    encoded(sample_scene(7).draw(32, 32), "WEBP"),
]
EDITS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), max_size=8)


@given(st.sampled_from(SAMPLES), EDITS, st.integers(16, 5_000))
def test_damaged_bytes_are_a_picture_or_refused(sample: bytes, edits: list[tuple[int, int]], keep: int) -> None:
    data = bytearray(sample[:keep])
    for at, value in edits:
        data[at % len(data)] = value
    try:
        picture = decode(bytes(data), limits=ImageLimits(max_pixels=1_000_000))
    except InvalidArgument as error:
        assert error.field == FIELD
    else:
        assert picture.image.mode == "RGB"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert refusal(data).message
