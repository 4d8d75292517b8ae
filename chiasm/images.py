"""Pictures as callers have them, turned into the bytes of a file."""

import io
import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from chiasm.errors import InvalidArgument

if TYPE_CHECKING:  # Pillow is loaded by those who use it
    from PIL.Image import Image

    ImageLike = str | PathLike[str] | bytes | BinaryIO | Image

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""More than any server takes unless configured; keeps a wrong path from filling the memory."""


_NAME_OR_ADDRESS = re.compile(r"media/sha256-[0-9a-f]{64}|(https?|gs)://.+")


def image_source(image: "ImageLike") -> bytes | str:
    """What a request says of a picture: the name of an upload or a `https://` or `gs://` address as it is, else the
    bytes, as `image_bytes` gives and raises them."""
    if isinstance(image, str) and _NAME_OR_ADDRESS.fullmatch(image):
        return image
    return image_bytes(image)


def image_bytes(image: "ImageLike") -> bytes:
    """The bytes of a picture given as a path, as bytes, as an open binary file or as a `PIL.Image`.

    Blocks while it reads. Raises OSError when a file cannot be read, InvalidArgument when it is too large.
    """
    if isinstance(image, bytes):
        data = image
    elif isinstance(image, str | PathLike):
        with Path(image).open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    elif hasattr(image, "read"):
        data = image.read(MAX_IMAGE_BYTES + 1)
    else:
        data = _as_png(image)
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidArgument(
            f"the picture has more than {MAX_IMAGE_BYTES // 1024 // 1024} MiB", reason="MEDIA_SIZE", field="image"
        )
    return data


def _as_png(image: "Image") -> bytes:
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):  # what PNG cannot hold
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
