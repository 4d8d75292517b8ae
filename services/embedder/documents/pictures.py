"""A picture file as its one part."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from chiasm.v1 import errors_pb2
from services.embedder.documents.part import Part, Refused
from services.embedder.documents.previews import SIDE, jpeg, shrunk
from services.runtime.media import ImageLimits, format_problem

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


def picture_part(data: bytes, mime_type: str, limits: ImageLimits) -> Part:
    """The picture in `data`, which is a PNG, JPEG, WebP or GIF as `mime_type` says. Blocks.

    What models do not read as it is stands as they do: without its alpha on white, of 16 bits a channel the upper 8,
    CMYK as RGB, of an animation the first frame. Its preview is what is embedded.
    Raises Refused.
    """
    try:
        with Image.open(BytesIO(data), formats=[mime_type.removeprefix("image/").upper()]) as image:
            width, height = image.size
            if min(width, height) < limits.min_side or width * height > limits.max_pixels:
                raise Refused(
                    f"the picture is {width:,} x {height:,} pixels; sides of {limits.min_side} or more "
                    f"and {limits.max_pixels:,} pixels at most are taken",
                    errors_pb2.ERROR_REASON_MEDIA_SIZE,
                )
            as_it_is = format_problem(image, data, mime_type) is None
            image.draft(None, (SIDE, SIDE))  # a JPEG is decoded no larger than the preview needs
            upright = ImageOps.exif_transpose(shrunk(_colors(image)))
            if image.getexif().get(_ORIENTATION) in _TURNED:
                width, height = height, width
            small = jpeg(_on_white(upright))
    except Refused:
        raise
    # Pillow's decoders answer damaged bytes with almost any exception, and all of them mean the same.
    except Exception as error:
        raise Refused(f"the {mime_type} is cut short or damaged", errors_pb2.ERROR_REASON_MEDIA_CORRUPT) from error
    return Part("picture", 0, data if as_it_is else small, small, width, height)


def _colors(image: Image.Image) -> Image.Image:
    """As RGB, or as RGBA where it has an alpha channel or a transparent colour."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
