"""What a media's headers say that its tokens depend on: pixels, pages, seconds. Nothing is decoded."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from chiasm.v1 import errors_pb2
from services.gemini_proxy.usage import Modality
from services.runtime.child_calls import ChildCalls
from services.runtime.children import CallFailed, ChildKilled, OutOfBounds
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.media_types import FileType, Kind, sniff

# https://ai.google.dev/gemini-api/docs/image-understanding, /video-understanding, /audio and /document-processing
_TAKEN = "PNG, JPEG, WebP, HEIC, HEIF, PDF, MP4, MOV, WebM, MKV, AVI, MPEG, WAV, MP3, AAC, OGG, FLAC, M4A, AIFF"

_READ_TIMEOUT_S = 10.0
_READ_BYTES = 2**30
"""More than any header that is meant takes; WebP's reader makes room for two pictures before it has the size."""


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


def _read(data: bytes, file_type: FileType) -> MediaFacts:
    # Only the children load FFmpeg, PDFium and Pillow's readers.
    from services.gemini_proxy.media_headers import read

    return read(data, file_type)


# Reading headers takes milliseconds, so that few are enough.
_read_in_child = ChildCalls(_read, children=2, memory_bytes=_READ_BYTES, timeout_s=_READ_TIMEOUT_S)


async def facts_of(data: bytes, *, field: str, mime_type: str = "", limits: MediaLimits) -> MediaFacts:
    """Reads the headers of one file in a child process.

    A type stated in `mime_type` must be what the bytes are. A file whose header is whole and whose rest is damaged
    passes: what it costs is known, and the provider refuses it.
    Raises InvalidArgument naming `field` for whatever Gemini does not take, exceeds `limits`, has a damaged header or
    one that takes more time or memory than there is; Unavailable where the child was killed from outside.
    """
    file_type = _checked_type(data, field, mime_type, limits)
    try:
        facts = await _read_in_child(data, file_type)
    except ChildKilled as error:
        raise Unavailable("the process that read the media was ended: send it again") from error
    except OutOfBounds as error:
        raise InvalidArgument(
            f"the {_named(file_type)} takes more time or memory to read than there is",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
        ) from error
    except CallFailed as error:
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


async def close() -> None:
    """Ends the child processes; a later call starts others."""
    await _read_in_child.close()


def _checked_type(data: bytes, field: str, mime_type: str, limits: MediaLimits) -> FileType:
    if not data:
        raise InvalidArgument(
            "the media is empty: send the bytes of a file", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
        )
    file_type = sniff(data)
    if file_type is None or file_type.mime_type == "image/gif":
        raise InvalidArgument(
            f"the bytes are no media that Gemini takes: send {_TAKEN}",
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
