"""Reads the headers of media files. Only in a child process: what a few bytes claim can take gigabytes, or a crash."""

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO

import av
import pypdfium2
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from services.gemini_proxy.heif import picture_size
from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.usage import Modality
from services.runtime.media_types import FileType, Kind

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
# Nothing is decoded here.
Image.MAX_IMAGE_PIXELS = None

# Enough to find every stream. No decoder has this name: FFmpeg would open one to learn what we do not ask.
_PROBE_OPTIONS = {"probesize": str(2**20), "codec_whitelist": "none"}


def read(data: bytes, file_type: FileType) -> MediaFacts:
    """Raises almost any exception for a file that is damaged, and all of them mean the same."""
    return _READERS[file_type.kind](data, file_type)


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
    document = pypdfium2.PdfDocument(data)
    try:
        pages = len(document)
    finally:
        document.close()
    if not pages:
        raise ValueError("no pages")
    return MediaFacts(file_type.mime_type, Modality.DOCUMENT, pages=pages)


def _stream_facts(data: bytes, file_type: FileType) -> MediaFacts:
    with av.open(BytesIO(data), format=file_type.demuxer, container_options=_PROBE_OPTIONS) as container:
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
        seconds = _packets_seconds(container)
    if seconds <= 0:
        raise ValueError("no duration")
    return seconds


def _packets_seconds(container: InputContainer) -> Fraction:
    """From the first packet's start to the last one's end, whatever their order."""
    container.seek(0)
    spans: dict[int, tuple[int, int]] = {}
    bases = {stream.index: stream.time_base for stream in container.streams}
    for packet in container.demux():
        if packet.pts is not None:
            start, end = spans.get(packet.stream_index, (packet.pts, packet.pts))
            spans[packet.stream_index] = min(start, packet.pts), max(end, packet.pts + (packet.duration or 0))
    starts = [start * bases[index] for index, (start, _) in spans.items()]
    return max(end * bases[index] for index, (_, end) in spans.items()) - min(starts)


_READERS: dict[Kind, Callable[[bytes, FileType], MediaFacts]] = {
    Kind.IMAGE: _image_facts,
    Kind.HEIF: _heif_facts,
    Kind.PDF: _pdf_facts,
    Kind.STREAMS: _stream_facts,
}
