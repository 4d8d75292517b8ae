"""Estimates of real files against the documented rules, which are stated here a second time and in another way.

Exact for pictures and PDFs, within 5 % for video and sound.
"""

from fractions import Fraction

import pytest

from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.estimate import Estimate, MediaPart, estimate
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from tests.gemini_proxy import media_files

LOW, HIGH = MediaResolution.LOW, MediaResolution.HIGH
DEFAULT = MediaResolution.UNSPECIFIED
SIDES = (1, 2, 17, 100, 383, 384, 385, 512, 540, 767, 768, 769, 960, 1_080, 1_337)


async def estimated(data: bytes, model: str, resolution: MediaResolution, rate: Fraction = Fraction(1)) -> Estimate:
    facts = await facts_of(data, field="media", limits=MediaLimits())
    found = estimate([MediaPart(facts, resolution, rate)], model)
    assert isinstance(found, Estimate)
    assert sum(found.bound.values()) >= sum(found.expected.values())
    return found


def tokens_of_tiles(width: int, height: int) -> int:
    """258 for each place on a grid of squares, of two thirds of the shorter side, that covers a larger picture."""
    if width <= 384 and height <= 384:
        return 258
    side = max(int(min(width, height) / 1.5), 1)
    return 258 * len(range(0, width, side)) * len(range(0, height, side))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_pictures_of_2_x_are_exact(format: str) -> None:
    for width in SIDES:
        for height in SIDES:
            found = await estimated(media_files.picture(format, width, height), "gemini-2.5-flash", DEFAULT)
            assert sum(found.expected.values()) == tokens_of_tiles(width, height), (width, height)


@pytest.mark.parametrize(("level", "tokens"), [("UNSPECIFIED", 1120), ("LOW", 280), ("MEDIUM", 560), ("HIGH", 1120)])
async def test_pictures_of_3_x_are_exact(level: str, tokens: int) -> None:
    for width, height in zip(SIDES, reversed(SIDES), strict=True):
        for file in (media_files.picture("PNG", width, height), media_files.turned_picture("JPEG", width, height)):
            found = await estimated(file, "gemini-3.8-flash", MediaResolution[level])
            assert sum(found.expected.values()) == tokens


@pytest.mark.parametrize(
    ("model", "level", "page"),
    [
        ("gemini-2.5-pro", DEFAULT, 258),
        ("gemini-3.8-flash", DEFAULT, 560),
        ("gemini-3.8-flash", LOW, 280),
        ("gemini-3.8-flash", HIGH, 1120),
    ],
)
async def test_pdfs_are_exact(model: str, level: MediaResolution, page: int) -> None:
    for pages in range(1, 21):
        found = await estimated(media_files.pdf(pages), model, level)
        assert sum(found.expected.values()) == page * pages


FILES = [
    ("video/mp4", 20, 10, True),
    ("video/mp4", 7, 25, False),
    ("video/quicktime", 12, 30, True),
    ("video/webm", 25, 5, True),
    ("video/webm", 4, 24, False),
    ("video/x-matroska", 25, 10, True),
    ("video/x-msvideo", 25, 10, True),
    ("video/mpeg", 15, 25, True),
]


@pytest.mark.parametrize(("mime_type", "seconds", "own_rate", "sound"), FILES)
async def test_videos_are_within_5_percent(mime_type: str, seconds: int, own_rate: int, sound: bool) -> None:
    data = media_files.film(mime_type, seconds, own_rate, sound)
    for model, level, frame, sound_second in (
        ("gemini-2.5-flash", DEFAULT, 258, 32),
        ("gemini-2.5-flash", LOW, 66, 32),
        ("gemini-3.8-flash", DEFAULT, 70, 25),
        ("gemini-3.8-flash", HIGH, 280, 25),
    ):
        for rate in (Fraction(1), Fraction(2), Fraction(5)):
            found = await estimated(data, model, level, rate)
            documented = seconds * (frame * rate + (sound_second if sound else 0))
            assert abs(sum(found.expected.values()) - documented) <= documented * Fraction(5, 100)
            assert sum(found.bound.values()) >= documented


@pytest.mark.parametrize("mime_type", media_files.SOUNDS)
async def test_sounds_are_within_5_percent(mime_type: str) -> None:
    data = media_files.sound(mime_type, 10)
    for model, second in (("gemini-2.5-flash", 32), ("gemini-3.8-flash", 25)):
        found = await estimated(data, model, DEFAULT)
        assert abs(sum(found.expected.values()) - 10 * second) <= 10 * second * Fraction(5, 100)
