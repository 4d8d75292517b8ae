"""Pictures that tests send: good ones, and every kind of bad one."""

import struct
import zlib
from io import BytesIO

from PIL import Image

from models.world.scene import Scene, sample_scene


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def scene_png(seed: int = 7, width: int = 224, height: int = 224) -> tuple[Scene, bytes]:
    """A held-out scene of the tiny world, and its picture."""
    scene = sample_scene(seed)
    return scene, encoded(scene.draw(width, height))


def png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """A PNG that says it is huge and holds next to nothing."""
    ihdr = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", zlib.compress(b"\0" * 64)) + _chunk(b"IEND", b"")
    )


def png_16_bit() -> bytes:
    """A real 8x8 PNG with 16 bits for each of red, green and blue."""
    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    ihdr = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _photo(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    return sample_scene(3).draw(*size).convert(mode)


def bad_images() -> dict[str, tuple[bytes, str]]:
    """What is wrong -> (bytes, the ErrorInfo reason it is refused with)."""
    frames = [_photo(), Image.new("RGB", (64, 64), "red")]
    jpeg = encoded(_photo(size=(256, 256)), "JPEG", quality=95)
    png = encoded(_photo(size=(256, 256)))
    gif = encoded(_photo(), "GIF")
    return {
        "empty": (b"", "FIELD_REQUIRED"),
        "text file": (b"Once upon a time there was no picture.\n" * 40, "MEDIA_TYPE_UNSUPPORTED"),
        "pdf": (b"%PDF-1.7\n", "MEDIA_TYPE_UNSUPPORTED"),
        "truncated jpeg": (jpeg[: len(jpeg) // 2], "MEDIA_CORRUPT"),
        "truncated png": (png[: len(png) // 2], "MEDIA_CORRUPT"),
        "png signature alone": (png[:8], "MEDIA_CORRUPT"),
        "jpeg of noise": (jpeg[:200] + bytes(range(256)) * 8, "MEDIA_CORRUPT"),
        "1x1": (encoded(Image.new("RGB", (1, 1))), "MEDIA_SIZE"),
        "20,000 x 20,000 bomb": (png_header(20_000, 20_000), "MEDIA_SIZE"),
        "cmyk": (encoded(_photo("CMYK"), "JPEG"), "MEDIA_FORMAT"),
        "16-bit grey": (encoded(Image.new("I;16", (64, 64))), "MEDIA_FORMAT"),
        "16-bit colour": (png_16_bit(), "MEDIA_FORMAT"),
        "animated gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "MEDIA_FORMAT"),
        "animated webp": (encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "MEDIA_FORMAT"),
        "gif with a broken trailer": (gif[:-1] + b"!", "MEDIA_CORRUPT"),
        "gif with half an extension": (gif[:-1] + b"!\xf9\x01\x01\x00;", "MEDIA_CORRUPT"),
        "gif with half a frame": (gif[:-1] + b",\x00\x00;", "MEDIA_CORRUPT"),
        "alpha": (encoded(_photo("RGBA")), "MEDIA_FORMAT"),
        "grey with alpha": (encoded(_photo("LA")), "MEDIA_FORMAT"),
    }
