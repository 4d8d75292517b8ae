"""Whether what was found can be there: boxes inside the picture, none twice, with the labels asked for."""

from collections.abc import Iterator, Sequence
from io import BytesIO

from PIL import Image

from chiasm.v1 import generation_pb2, media_pb2
from services.gateway.cascade.faults import Fault

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_ORIENTATION = 0x0112
_TURNED_FROM = 5  # EXIF orientations from here on swap width and height
_LOC = "<loc"
# Boxes are computed in floats from fractions of the picture.
_SLACK_PIXELS = 0.5


def box_faults(
    request: generation_pb2.GenerateRequest, text: str, found: Sequence[media_pb2.Detection]
) -> Iterator[Fault]:
    """Of an answer about the one picture of `request`."""
    if _LOC in text and text.count(_LOC) != 4 * len(found):
        yield Fault.BOX_UNREADABLE
    size = _picture_size(request)
    if not all(_inside(detection.box, size) for detection in found):
        yield Fault.BOX_OUTSIDE
    if len({(_folded(each.label), each.box.SerializeToString(deterministic=True)) for each in found}) < len(found):
        yield Fault.BOX_TWICE
    asked = {_folded(label) for part in request.messages[-1].parts for label in part.text.split(";")}
    if not {_folded(each.label) for each in found} <= asked:
        yield Fault.LABEL_NOT_ASKED


def _inside(box: media_pb2.BoundingBox, size: tuple[int, int] | None) -> bool:
    if not (0 <= box.x_min < box.x_max and 0 <= box.y_min < box.y_max):
        return False
    return size is None or (box.x_max <= size[0] + _SLACK_PIXELS and box.y_max <= size[1] + _SLACK_PIXELS)


def _picture_size(request: generation_pb2.GenerateRequest) -> tuple[int, int] | None:
    """Width and height in pixels, upright, from its header; None where that does not tell."""
    pictures = [part.media.data for part in request.messages[-1].parts if part.HasField("media")]
    if len(pictures) != 1:
        return None
    try:
        with Image.open(BytesIO(pictures[0]), formats=_FORMATS) as picture:
            width, height = picture.size
            # The method of a PNG would decode it, in case the orientation comes last.
            turned = Image.Image.getexif(picture).get(_ORIENTATION, 1) >= _TURNED_FROM
    # Pillow answers damaged headers with almost any exception.
    except Exception:  # noqa: BLE001
        return None
    return (height, width) if turned else (width, height)


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()
