"""What a media's headers say that its tokens depend on: pixels, pages, seconds. Nothing is decoded."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from math import ceil

import av
import pypdfium2
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from chiasm.v1 import errors_pb2
from services.gemini_proxy.heif import picture_size
from services.gemini_proxy.media_types import TAKEN, FileType, Kind, sniff
from services.gemini_proxy.usage import Modality
from services.runtime.errors import InvalidArgument

# Reading headers takes little memory and milliseconds, so that few are enough.
_threads = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="media-facts")
# https://pypdfium2.readthedocs.io/en/stable/python_api.html: PDFium is not thread-safe.
_pdfium = threading.Lock()

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_PROBE_TIMEOUT_S = 10.0
# Enough to find every stream. No decoder has this name: FFmpeg would open one to learn what we do not ask.
_PROBE_OPTIONS = {"probesize": str(2**20), "codec_whitelist": "none"}


@dataclass(frozen=True)
class MediaLimits:
    """What Gemini takes inline (https://ai.google.dev/gemini-api/docs/files, /document-processing, /audio)."""

    max_bytes: int = 100_000_000
    """Most bytes of a file."""
    max_pdf_bytes: int = 50_000_000
    """Most bytes of a PDF."""
    max_pages: int = 1_000
    """Most pages of a PDF."""
    max_seconds: int = 34_200
    """Longest video or sound: 9.5 hours."""


@dataclass(frozen=True)
class MediaFacts:
    """What the headers say; 0 where it does not apply."""

    mime_type: str
    """What the bytes are, as Gemini names it."""
    modality: Modality
    width: int = 0
    """Pixels across, upright; of a picture."""
    height: int = 0
    """Pixels down, upright; of a picture."""
    pages: int = 0
    """Of a document."""
    seconds: Fraction = Fraction(0)
    """How long a video's pictures or a sound last."""
    audio_seconds: Fraction = Fraction(0)
    """How long a video's sound lasts; 0 where it has none."""
    frames_per_second: Fraction = Fraction(0)
    """A video's own rate, which Gemini samples; 0 where the header does not say."""


async def facts_of(data: bytes, *, field: str, mime_type: str = "", limits: MediaLimits) -> MediaFacts:
    """Reads the headers of one file in a worker thread.

    A type stated in `mime_type` must be what the bytes are. A file whose header is whole and whose rest is damaged
    passes: what it costs is known, and the provider refuses it.
    Raises InvalidArgument naming `field` for whatever Gemini does not take, exceeds `limits`, or has a damaged header.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, _facts_of, data, field, mime_type, limits)


def _facts_of(data: bytes, field: str, mime_type: str, limits: MediaLimits) -> MediaFacts:
    file_type = _checked_type(data, field, mime_type, limits)
    try:
        facts = _READERS[file_type.kind](data, file_type)
    # The readers answer damaged bytes with almost any exception, and all of them mean the same.
    except Exception as error:
        raise InvalidArgument(
            f"the {_named(file_type)} is cut short, damaged or encrypted",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_CORRUPT,
        ) from error
    for length, most, unit in (
        (facts.pages, limits.max_pages, "pages"),
        (ceil(max(facts.seconds, facts.audio_seconds)), limits.max_seconds, "seconds"),
    ):
        if length > most:
            raise InvalidArgument(
                f"the {facts.mime_type} has {length:,} {unit}; at most {most:,} are taken",
                field=field,
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
    return facts


def _checked_type(data: bytes, field: str, mime_type: str, limits: MediaLimits) -> FileType:
    if not data:
        raise InvalidArgument(
            "the media is empty: send the bytes of a file", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
        )
    file_type = sniff(data)
    if file_type is None:
        raise InvalidArgument(
            f"the bytes are no media that Gemini takes: send {TAKEN}",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED,
        )
    if mime_type and not file_type.is_called(mime_type):
        raise InvalidArgument(
            f"the bytes are {_named(file_type)}, not {mime_type[:64]!r} as stated",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED,
        )
    most = min(limits.max_bytes, limits.max_pdf_bytes) if file_type.kind is Kind.PDF else limits.max_bytes
    if len(data) > most:
        raise InvalidArgument(
            f"the {_named(file_type)} has {len(data):,} bytes; at most {most:,} are taken",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
        )
    return file_type


def _named(file_type: FileType) -> str:
    return file_type.mime_type or file_type.audio_mime_type


def _image_facts(data: bytes, file_type: FileType) -> MediaFacts:
    with Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
        width, height = image.size
        # Pillow would decode a PNG to look for EXIF behind its pixels.
        if "exif" in image.info and image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
    return MediaFacts(file_type.mime_type, Modality.IMAGE, width, height)


def _heif_facts(data: bytes, file_type: FileType) -> MediaFacts:
    width, height = picture_size(data)
    return MediaFacts(file_type.mime_type, Modality.IMAGE, width, height)


def _pdf_facts(data: bytes, file_type: FileType) -> MediaFacts:
    with _pdfium:
        document = pypdfium2.PdfDocument(data)
        try:
            pages = len(document)
        finally:
            document.close()
    if not pages:
        raise ValueError("no pages")
    return MediaFacts(file_type.mime_type, Modality.DOCUMENT, pages=pages)


def _stream_facts(data: bytes, file_type: FileType) -> MediaFacts:
    file = BytesIO(data)
    with av.open(
        file, format=file_type.demuxer, container_options=_PROBE_OPTIONS, timeout=_PROBE_TIMEOUT_S
    ) as container:
        # A song's cover is a video stream of one picture.
        video = next((s for s in container.streams.video if not s.disposition & s.disposition.attached_pic), None)
        audio = next(iter(container.streams.audio), None)
        mime_type = file_type.mime_type if video else file_type.audio_mime_type
        if not mime_type or not (video or audio):
            raise ValueError("not the streams that such a file has")
        seconds = _seconds(container, video or audio)
        if video is None:
            return MediaFacts(mime_type, Modality.AUDIO, seconds=seconds)
        return MediaFacts(
            mime_type,
            Modality.VIDEO,
            seconds=seconds,
            audio_seconds=_seconds(container, audio) if audio else Fraction(0),
            frames_per_second=Fraction(video.average_rate or 0),
        )


def _seconds(container: InputContainer, stream: Stream) -> Fraction:
    """How long the stream lasts, or the longest of the file where the stream does not say."""
    if stream.duration:
        seconds = stream.duration * stream.time_base
    elif container.duration:
        seconds = Fraction(container.duration, av.time_base)
    else:
        seconds = _last_packet_end(container)
    if seconds <= 0:
        raise ValueError("no duration")
    return seconds


def _last_packet_end(container: InputContainer) -> Fraction:
    container.seek(0)
    packets = [packet for packet in container.demux() if packet.pts is not None]
    start = min(packet.pts * packet.time_base for packet in packets)
    return max((packet.pts + (packet.duration or 0)) * packet.time_base for packet in packets) - start


_READERS: dict[Kind, Callable[[bytes, FileType], MediaFacts]] = {
    Kind.IMAGE: _image_facts,
    Kind.HEIF: _heif_facts,
    Kind.PDF: _pdf_facts,
    Kind.STREAMS: _stream_facts,
}
