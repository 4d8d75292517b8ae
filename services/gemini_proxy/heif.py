"""The size of a HEIC or HEIF picture, read from its boxes without a decoder (ISO/IEC 23008-12, ISO/IEC 14496-12)."""

from collections.abc import Iterator
from struct import unpack_from

_MAX_BOXES = 4_096


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the largest picture in the file, upright.

    That is the primary one: thumbnails and the tiles of a grid are smaller, and an auxiliary picture as large at most.
    Raises ValueError for a file that has none.
    """
    meta = _payload(data, b"meta")
    properties = _payload(_payload(meta[4:], b"iprp"), b"ipco")
    sizes, turned = [], False
    for kind, payload in _boxes(properties):
        if kind == b"ispe" and len(payload) >= 12:
            sizes.append(unpack_from(">II", payload, 4))
        elif kind == b"irot" and payload:
            turned = bool(payload[0] & 1)
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    if not width or not height:
        raise ValueError("no picture size")
    return (height, width) if turned else (width, height)


def _payload(data: bytes, kind: bytes) -> bytes:
    for found, payload in _boxes(data):
        if found == kind:
            return payload
    raise ValueError(f"no {kind.decode()} box")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset + 8 > len(data):
            return
        size, kind = unpack_from(">I4s", data, offset)
        header = 8
        if size == 1 and offset + 16 <= len(data):
            (size,), header = unpack_from(">Q", data, offset + 8), 16
        end = len(data) if size == 0 else offset + size
        if end < offset + header or end > len(data):
            raise ValueError("a box is cut short")
        yield kind, data[offset + header : end]
        offset = end
