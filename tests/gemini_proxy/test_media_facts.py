import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.v1 import errors_pb2
from services.gemini_proxy import media_facts, media_headers
from services.gemini_proxy.media_facts import MediaFacts, MediaLimits, facts_of
from services.gemini_proxy.usage import Modality
from services.runtime.child_calls import ChildCalls
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.media_types import FileType, sniff
from tests import media_files
from tests.pictures import png_header

FIELD = "messages[0].parts[1].media"


async def read(data: bytes, mime_type: str = "", **limits: int) -> MediaFacts:
    return await facts_of(data, field=FIELD, mime_type=mime_type, limits=MediaLimits(**limits))


async def refusal(data: bytes, mime_type: str = "", **limits: int) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        await read(data, mime_type, **limits)
    assert caught.value.field == FIELD
    return caught.value


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_has_its_size(format: str) -> None:
    facts = await read(media_files.picture(format, 321, 123))
    assert facts == MediaFacts(f"image/{format.lower()}", Modality.IMAGE, 321, 123)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_turned_picture_has_its_upright_size(format: str) -> None:
    facts = await read(media_files.turned_picture(format, 321, 123))
    assert (facts.width, facts.height) == (123, 321)


async def test_a_heic_picture_has_its_size_without_being_decoded() -> None:
    assert await read(media_files.heic(640, 480)) == MediaFacts("image/heic", Modality.IMAGE, 640, 480)


async def test_a_turned_heic_picture_has_its_upright_size() -> None:
    facts = await read(media_files.turned_heic(640, 480))
    assert (facts.width, facts.height) == (480, 640)


async def test_a_huge_picture_is_only_looked_at() -> None:
    """Its pixels would take 12 GB."""
    facts = await read(png_header(60_000, 70_000))
    assert (facts.width, facts.height) == (60_000, 70_000)


@pytest.mark.parametrize("pages", [1, 2, 37])
async def test_a_pdf_has_its_pages(pages: int) -> None:
    assert await read(media_files.pdf(pages)) == MediaFacts("application/pdf", Modality.DOCUMENT, pages=pages)


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("mime_type", media_files.FILMS)
async def test_a_video_has_its_length_its_rate_and_its_sound(mime_type: str, sound: bool) -> None:
    facts = await read(media_files.film(mime_type, seconds=3, frames_per_second=10, sound=sound), mime_type)
    assert (facts.mime_type, facts.modality) == (mime_type, Modality.VIDEO)
    assert 3 <= facts.seconds <= Fraction(31, 10)
    assert bool(facts.audio_seconds) == sound
    assert facts.frames_per_second == 10


@pytest.mark.parametrize("mime_type", media_files.SOUNDS)
async def test_a_sound_has_its_length(mime_type: str) -> None:
    facts = await read(media_files.sound(mime_type, seconds=4), mime_type)
    assert (facts.mime_type, facts.modality) == (mime_type, Modality.AUDIO)
    assert abs(facts.seconds - 4) < Fraction(1, 20)


async def test_a_video_whose_header_has_no_length_is_read_to_its_end() -> None:
    facts = await read(media_files.live_webm(seconds=3))
    assert abs(facts.seconds - 3) <= Fraction(1, 5)


async def test_a_container_of_sound_alone_is_a_sound() -> None:
    facts = await read(media_files.sound("audio/mp4", 2), "audio/x-m4a")
    assert (facts.mime_type, facts.modality) == ("audio/mp4", Modality.AUDIO)


async def test_a_songs_cover_makes_it_no_video() -> None:
    facts = await read(media_files.song_with_cover(seconds=2))
    assert (facts.modality, facts.audio_seconds) == (Modality.AUDIO, 0)


def test_of_many_tiny_packets_none_is_kept() -> None:
    # A cluster at 0 ms, and SimpleBlocks of the first track, 100 ms into it. https://www.rfc-editor.org/rfc/rfc9559
    cluster = bytes.fromhex("e78100") + bytes.fromhex("a3858100640000") * 300_000
    size = (len(cluster) | 1 << 56).to_bytes(8)
    data = media_files.live_webm(seconds=3) + bytes.fromhex("1f43b675") + size + cluster
    before = _peak_bytes(os.getpid())
    facts = media_headers.read(data, sniff(data))
    assert _peak_bytes(os.getpid()) < before + 2**26
    assert abs(facts.seconds - 3) <= Fraction(1, 5)


@pytest.mark.parametrize(
    "data",
    [media_files.claiming_mp4(30_000_000, tracks=2), b"%PDF-1.4\n1 0 obj" + b"[" * 5_000_000],
    ids=["samples", "brackets"],
)
async def test_what_a_few_bytes_claim_takes_no_gigabytes(data: bytes) -> None:
    before = _peak_bytes(os.getpid())
    with suppress(InvalidArgument):
        await read(data)
    assert _peak_bytes(os.getpid()) < before + 2**26
    children = [_peak_bytes(child.pid) for child in multiprocessing.active_children()]
    assert children
    assert max(children) < 1.25 * 2**30
    assert (await read(media_files.picture())).width == 64


def _peak_bytes(pid: int) -> int:
    """Most that the process had in memory at once."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (media_files.picture("GIF"), "GIF"),
        (media_files.picture("AVIF"), "AVIF"),
        (media_files.picture("BMP"), "BMP"),
        (b"Once upon a time\n" * 100, "text"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret\n", "playlist"),
        (b"\x00", "a byte"),
    ],
)
async def test_what_gemini_does_not_take_is_refused_with_what_it_does(data: bytes, what: str) -> None:
    error = await refusal(data)
    assert error.reason == errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED, what
    assert "PNG, JPEG, WebP" in error.message


@pytest.mark.parametrize(
    "hidden",
    [media_files.sound("audio/flac", 1), b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n" * 50],
    ids=["sound", "playlist"],
)
async def test_what_hides_behind_a_tag_is_not_read(hidden: bytes) -> None:
    """FFmpeg looks behind ID3 tags for what a file is, and a playlist there would lead it to other files."""
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x0a" + bytes(10)
    assert (await refusal(tag + hidden)).reason == errors_pb2.ERROR_REASON_MEDIA_CORRUPT


@pytest.mark.parametrize(
    ("data", "stated"),
    [
        (media_files.picture("PNG"), "image/jpeg"),
        (media_files.pdf(), "image/png"),
        (media_files.sound("audio/wav", 1), "audio/mp3"),
        (media_files.picture("PNG"), "png"),
    ],
)
async def test_a_type_that_the_bytes_contradict_is_refused(data: bytes, stated: str) -> None:
    error = await refusal(data, stated)
    assert error.reason == errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED
    assert stated in error.message


@pytest.mark.parametrize(
    ("data", "stated"),
    [
        (media_files.picture("JPEG"), "image/jpg"),
        (media_files.picture("PNG"), "IMAGE/PNG; q=1"),
        (media_files.heic(), "image/heif"),
        (media_files.sound("audio/mp3", 1), "audio/mpeg"),
    ],
)
async def test_other_names_of_a_type_are_taken(data: bytes, stated: str) -> None:
    await read(data, stated)


def killed(_data: bytes, _file_type: FileType) -> MediaFacts:
    os.kill(os.getpid(), signal.SIGKILL)


def bloated(_data: bytes, _file_type: FileType) -> MediaFacts:
    bytes(2**30)


def calling(function, monkeypatch: pytest.MonkeyPatch) -> ChildCalls:
    calls = ChildCalls(function, children=1, memory_bytes=2**26, timeout_s=10)
    monkeypatch.setattr(media_facts, "_read_in_child", calls)
    return calls


async def test_a_child_that_is_killed_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calling(killed, monkeypatch)
    with pytest.raises(Unavailable, match="send it again"):
        await read(media_files.pdf())
    await calls.close()


async def test_a_header_that_takes_too_much_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calling(bloated, monkeypatch)
    assert (await refusal(media_files.pdf())).reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    await calls.close()


async def test_the_children_end_when_they_are_closed() -> None:
    await read(media_files.pdf())
    before = {child.pid for child in multiprocessing.active_children()}
    await media_facts.close()
    assert len(multiprocessing.active_children()) < len(before)
    await read(media_files.pdf())


async def test_nothing_is_refused_as_missing() -> None:
    assert (await refusal(b"")).reason == errors_pb2.ERROR_REASON_FIELD_REQUIRED


async def test_files_and_documents_beyond_their_limits_are_refused() -> None:
    for data, limits in (
        (media_files.picture(), {"max_bytes": 100}),
        (media_files.pdf(2), {"max_pdf_bytes": 100}),
        (media_files.pdf(3), {"max_pages": 2}),
        (media_files.sound("audio/wav", 3), {"max_seconds": 2}),
    ):
        assert (await refusal(data, **limits)).reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    assert (await read(media_files.pdf(3), max_pages=3)).pages == 3


async def test_an_encrypted_pdf_is_refused() -> None:
    error = await refusal(media_files.encrypted_pdf())
    assert error.reason == errors_pb2.ERROR_REASON_MEDIA_CORRUPT
    assert "encrypted" in error.message


@pytest.mark.parametrize(
    "data",
    [
        media_files.picture("PNG")[:16],
        media_files.picture("JPEG")[:20],
        media_files.heic()[:64],
        media_files.pdf()[:40],
        media_files.film("video/mp4")[:200],
        media_files.film("video/webm")[:60],
        media_files.sound("audio/wav", 1)[:20],
    ],
)
async def test_a_file_whose_header_is_cut_is_refused(data: bytes) -> None:
    assert (await refusal(data)).reason == errors_pb2.ERROR_REASON_MEDIA_CORRUPT


@cache
def samples() -> tuple[bytes, ...]:
    return (
        media_files.picture("PNG"),
        media_files.turned_picture("JPEG", 64, 32),
        media_files.turned_picture("WEBP", 64, 32),
        media_files.heic(),
        media_files.pdf(3),
        *(media_files.film(mime_type, seconds=1, sound=True) for mime_type in media_files.FILMS),
        *(media_files.sound(mime_type, 1) for mime_type in media_files.SOUNDS),
    )


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(0, 12))):
        place = draw(st.integers(0, min(len(data) - 1, 4_096)))
        data[place] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data) - 1))
        del data[start : start + draw(st.integers(1, len(data)))]
    salt = draw(st.binary(max_size=64))
    place = draw(st.integers(0, len(data)))
    return bytes(data[:place]) + salt + bytes(data[place:])


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged EXIF
@settings(max_examples=400)
@given(damaged_files())
def test_damaged_files_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    limits = MediaLimits()
    try:
        facts = asyncio.run(asyncio.wait_for(facts_of(data, field=FIELD, limits=limits), 20))
    except InvalidArgument as error:
        assert error.field == FIELD
        assert error.reason in (
            errors_pb2.ERROR_REASON_FIELD_REQUIRED,
            errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED,
            errors_pb2.ERROR_REASON_MEDIA_CORRUPT,
            errors_pb2.ERROR_REASON_MEDIA_SIZE,
        )
    else:
        sizes = {
            Modality.IMAGE: facts.width * facts.height,
            Modality.DOCUMENT: facts.pages,
            Modality.VIDEO: facts.seconds,
            Modality.AUDIO: facts.seconds,
        }
        assert sizes[facts.modality] > 0
