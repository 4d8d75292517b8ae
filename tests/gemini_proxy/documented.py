"""Real files and what the provider's documentation says they cost in tokens.

The rules are stated here a second time, in another way. https://ai.google.dev/gemini-api/docs/tokens
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.estimate import Estimate, MediaPart, estimate
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from tests import media_files

LOW, HIGH = MediaResolution.LOW, MediaResolution.HIGH
DEFAULT = MediaResolution.UNSPECIFIED
FORMATS = ("PNG", "JPEG", "WEBP")
VIDEOS = (
    ("video/mp4", 20, 10, True),
    ("video/mp4", 7, 25, False),
    ("video/quicktime", 12, 30, True),
    ("video/webm", 25, 5, True),
    ("video/webm", 4, 24, False),
    ("video/x-matroska", 25, 10, True),
    ("video/x-msvideo", 25, 10, True),
    ("video/mpeg", 15, 25, True),
)
_SIDES = (1, 2, 17, 100, 383, 384, 385, 512, 540, 767, 768, 769, 960, 1_080, 1_337)
_PICTURE_TOKENS = {"UNSPECIFIED": 1120, "LOW": 280, "MEDIUM": 560, "HIGH": 1120}


@dataclass(frozen=True)
class Case:
    """A file in a question to a model, and the tokens that the documentation gives it."""

    data: bytes
    model: str
    resolution: MediaResolution
    tokens: Fraction | int
    frames_per_second: Fraction = Fraction(1)


def tiled_pictures(format: str) -> Iterator[Case]:
    """For models 2.x."""
    for width in _SIDES:
        for height in _SIDES:
            data = media_files.picture(format, width, height)
            yield Case(data, "gemini-2.5-flash", DEFAULT, _tokens_of_tiles(width, height))


def _tokens_of_tiles(width: int, height: int) -> int:
    """258 for each place on a grid of squares, of two thirds of the shorter side, that covers a larger picture."""
    if width <= 384 and height <= 384:
        return 258
    side = max(int(min(width, height) / 1.5), 1)
    return 258 * len(range(0, width, side)) * len(range(0, height, side))


def pictures() -> Iterator[Case]:
    """For models 3.x."""
    for level, tokens in _PICTURE_TOKENS.items():
        for width, height in zip(_SIDES, reversed(_SIDES), strict=True):
            for data in (media_files.picture("PNG", width, height), media_files.turned_picture("JPEG", width, height)):
                yield Case(data, "gemini-3.8-flash", MediaResolution[level], tokens)


def pdfs() -> Iterator[Case]:
    """Of 1 to 20 pages, for models 2.x and 3.x."""
    for pages in range(1, 21):
        data = media_files.pdf(pages)
        yield Case(data, "gemini-2.5-pro", DEFAULT, 258 * pages)
        for level, page in ((DEFAULT, 560), (LOW, 280), (HIGH, 1120)):
            yield Case(data, "gemini-3.8-flash", level, page * pages)


def videos(mime_type: str, seconds: int, own_rate: int, sound: bool) -> Iterator[Case]:
    """Looked at in several ways, for models 2.x and 3.x."""
    data = media_files.film(mime_type, seconds, own_rate, sound)
    for model, level, frame, sound_second in (
        ("gemini-2.5-flash", DEFAULT, 258, 32),
        ("gemini-2.5-flash", LOW, 66, 32),
        ("gemini-3.8-flash", DEFAULT, 70, 25),
        ("gemini-3.8-flash", HIGH, 280, 25),
    ):
        for rate in (Fraction(1), Fraction(2), Fraction(5)):
            yield Case(data, model, level, seconds * (frame * rate + (sound_second if sound else 0)), rate)


def sounds(mime_type: str) -> Iterator[Case]:
    """Of 10 seconds, for models 2.x and 3.x."""
    data = media_files.sound(mime_type, 10)
    for model, second in (("gemini-2.5-flash", 32), ("gemini-3.8-flash", 25)):
        yield Case(data, model, DEFAULT, 10 * second)


async def worst_error(cases: Iterable[Case]) -> float:
    """Of the estimates, as a share of the documented tokens. Raises ValueError where a bound is below them."""
    worst = Fraction(0)
    for case in cases:
        facts = await facts_of(case.data, field="media", limits=MediaLimits())
        found = estimate([MediaPart(facts, case.resolution, case.frames_per_second)], case.model)
        if not isinstance(found, Estimate) or sum(found.bound.values()) < case.tokens:
            raise ValueError(f"{case.model}: {found} does not cover {case.tokens}")
        worst = max(worst, abs(sum(found.expected.values()) - case.tokens) / Fraction(case.tokens))
    return float(worst)
