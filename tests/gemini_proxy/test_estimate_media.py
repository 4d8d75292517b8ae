"""Estimates of real files against the documented rules: exact for pictures and PDFs, within 5 % for video and sound."""

import pytest

from tests import media_files
from tests.gemini_proxy.documented import FORMATS, VIDEOS, pdfs, pictures, sounds, tiled_pictures, videos, worst_error


@pytest.mark.parametrize("format", FORMATS)
async def test_pictures_of_2_x_are_exact(format: str) -> None:
    assert await worst_error(tiled_pictures(format)) == 0


async def test_pictures_of_3_x_are_exact() -> None:
    assert await worst_error(pictures()) == 0


async def test_pdfs_are_exact() -> None:
    assert await worst_error(pdfs()) == 0


@pytest.mark.parametrize(("mime_type", "seconds", "own_rate", "sound"), VIDEOS)
async def test_videos_are_within_5_percent(mime_type: str, seconds: int, own_rate: int, sound: bool) -> None:
    assert await worst_error(videos(mime_type, seconds, own_rate, sound)) <= 0.05


@pytest.mark.parametrize("mime_type", media_files.SOUNDS)
async def test_sounds_are_within_5_percent(mime_type: str) -> None:
    assert await worst_error(sounds(mime_type)) <= 0.05
