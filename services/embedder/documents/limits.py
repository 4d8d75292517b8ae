"""How much of a file is read."""

from dataclasses import dataclass

from services.runtime.media import ImageLimits


@dataclass(frozen=True)
class DocumentLimits:
    """What a file may have; more is refused."""

    image: ImageLimits
    """Of a picture; its pixels are also those of a film's frame."""
    max_bytes: int = 256 * 2**20
    """Most bytes of a PDF or a film."""
    max_pages: int = 2_000
    """Most pages of a PDF."""
    max_film_s: float = 4 * 3_600
    """Longest film, in seconds."""
    max_moments: int = 2_000
    """Most moments of a film, 1 or more. The scenes of a longer film are told apart less finely to have no more."""
