"""Small JPEGs of pictures, pages and frames."""

from io import BytesIO

from PIL import Image

SIDE = 1_024
"""Longest side in pixels: what the largest model that is served reads, and enough to tell what is on a page."""
_LEAST_SIDE = 2  # or no model would read it
_QUALITY = 85


def fitted(width: int, height: int) -> tuple[int, int]:
    """The size of the preview of what is `width` x `height` pixels: no larger, and of the same shape."""
    scale = min(1.0, SIDE / max(width, height))
    return max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))


def shrunk(image: Image.Image) -> Image.Image:
    """The `image`, smaller where it is larger than a preview may be."""
    size = fitted(*image.size)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def jpeg(image: Image.Image) -> bytes:
    """The preview that an RGB or grey `image`, small already, is."""
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
