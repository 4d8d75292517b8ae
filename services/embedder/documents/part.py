"""What a file is taken apart into."""

from dataclasses import dataclass
from typing import Literal

from chiasm.v1.errors_pb2 import ErrorReason


@dataclass(frozen=True, eq=False)
class Part:
    """A picture, a page of a PDF, or a moment of a film: what a search finds."""

    kind: Literal["picture", "page", "moment"]
    number: int
    """Which of the file's parts it is, 0 or more."""
    picture: bytes
    """What is embedded: a picture's own file where it is one that models read, else `preview`."""
    preview: bytes
    """A JPEG of at most 1,024 pixels a side, upright, on white."""
    width: int
    """Its own size, upright: pixels, or of a page points (1/72 inch). 1 or more."""
    height: int
    text: str = ""
    """A page's own, as it lies in the PDF; at most 65,536 characters."""
    page: int | None = None
    """Which of the pages, 1 or more."""
    start_s: float | None = None
    """When the moment begins, in seconds from the film's first frame."""
    end_s: float | None = None
    """When it ends: when the next one begins, or the film ends."""
    of: int = 1
    """How many parts the file has; of a film at most, as its header has it."""


@dataclass(frozen=True)
class Refusal:
    """Why a file is not taken."""

    message: str
    reason: ErrorReason


class Refused(Exception):
    """Raised where a file is read, which may be a child process; `refusal` is what travels."""

    def __init__(self, message: str, reason: ErrorReason) -> None:
        super().__init__(message)
        self.refusal = Refusal(message, reason)
