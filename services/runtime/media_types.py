"""What a media file is, told from its first bytes; other files, such as AVIF, TIFF, BMP and texts, are none here."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a file's header is read."""

    IMAGE = "image"
    """A picture that is decoded here."""
    HEIF = "heif"
    PDF = "pdf"
    STREAMS = "streams"
    """Video, sound or both."""


@dataclass(frozen=True)
class FileType:
    """A type of media file."""

    kind: Kind
    mime_type: str
    """What it is called, as Gemini does; of a file of streams, when it has pictures."""
    audio_mime_type: str = ""
    """What a file of streams without pictures is called; empty where there is no such file."""
    demuxer: str = ""
    """FFmpeg's reader of a file of streams. Left to guess, it would follow a playlist to wherever that leads."""
    aliases: frozenset[str] = frozenset()
    """Other names that callers have for it."""

    @property
    def pillow_format(self) -> str:
        """Pillow's name of the type of a picture that is decoded here."""
        return self.mime_type.removeprefix("image/").upper()

    def is_called(self, mime_type: str) -> bool:
        """Whether `mime_type`, as a caller states it, is a name of this type; parameters and case do not matter."""
        essence = mime_type.partition(";")[0].strip().lower()
        return essence in {self.mime_type, self.audio_mime_type, *self.aliases} - {""}


def _streams(demuxer: str, mime_type: str, audio_mime_type: str, *aliases: str) -> FileType:
    return FileType(Kind.STREAMS, mime_type, audio_mime_type, demuxer, frozenset(aliases))


_PNG = FileType(Kind.IMAGE, "image/png")
_JPEG = FileType(Kind.IMAGE, "image/jpeg", aliases=frozenset({"image/jpg"}))
_WEBP = FileType(Kind.IMAGE, "image/webp")
_GIF = FileType(Kind.IMAGE, "image/gif")
_HEIC = FileType(Kind.HEIF, "image/heic", aliases=frozenset({"image/heif"}))
_HEIF = FileType(Kind.HEIF, "image/heif", aliases=frozenset({"image/heic"}))
_PDF = FileType(Kind.PDF, "application/pdf", aliases=frozenset({"application/x-pdf"}))
_MP4 = _streams("mov", "video/mp4", "audio/mp4", "audio/m4a", "audio/x-m4a", "video/x-m4v", "video/quicktime")
_3GPP = _streams("mov", "video/3gpp", "audio/3gpp", "video/mp4")
_MOV = _streams("mov", "video/quicktime", "audio/mp4", "video/mov", "video/mp4")
_WEBM = _streams("matroska", "video/webm", "audio/webm")
_MATROSKA = _streams("matroska", "video/x-matroska", "audio/x-matroska", "video/matroska", "video/mkv")
_AVI = _streams("avi", "video/x-msvideo", "", "video/avi", "video/msvideo")
_MPEG = _streams("mpeg", "video/mpeg", "audio/mpeg", "video/mpg")
_MPEG_VIDEO = _streams("mpegvideo", "video/mpeg", "", "video/mpg")
_MPEG_TS = _streams("mpegts", "video/mpeg", "audio/mpeg", "video/mpg", "video/mp2t")
_WAV = _streams("wav", "", "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
_MP3 = _streams("mp3", "", "audio/mp3", "audio/mpeg", "audio/mpga")
_AAC = _streams("aac", "", "audio/aac", "audio/x-aac", "audio/aacp")
_OGG = _streams("ogg", "video/ogg", "audio/ogg", "application/ogg", "audio/opus", "audio/vorbis")
_FLAC = _streams("flac", "", "audio/flac", "audio/x-flac")
_AIFF = _streams("aiff", "", "audio/aiff", "audio/x-aiff")

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_HEIF_BRANDS = (b"mif1", b"msf1", b"heif")
_TS_PACKET = 188  # https://en.wikipedia.org/wiki/MPEG_transport_stream

_SIGNATURES: tuple[tuple[FileType, Callable[[bytes], bool]], ...] = (
    (_PNG, lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    (_JPEG, lambda head: head.startswith(b"\xff\xd8\xff")),
    (_WEBP, lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    (_GIF, lambda head: head[:6] in (b"GIF87a", b"GIF89a")),
    # Readers accept a PDF whose header is within the first KiB.
    (_PDF, lambda head: b"%PDF-" in head[:1024]),
    (_WEBM, lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head[:64]),
    (_MATROSKA, lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"matroska" in head[:64]),
    (_AVI, lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI "),
    (_WAV, lambda head: head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"),
    (_MPEG, lambda head: head.startswith(b"\x00\x00\x01\xba")),
    (_MPEG_VIDEO, lambda head: head.startswith(b"\x00\x00\x01\xb3")),
    (_MPEG_TS, lambda head: len(head) > 2 * _TS_PACKET and {head[0], head[_TS_PACKET], head[2 * _TS_PACKET]} == {0x47}),
    (_OGG, lambda head: head.startswith(b"OggS")),
    (_FLAC, lambda head: head.startswith(b"fLaC")),
    (_AIFF, lambda head: head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC")),
    (_MP3, lambda head: head.startswith(b"ID3")),
    # The sync word of an MPEG audio frame and its layer bits, which are 0 for AAC in ADTS.
    (_AAC, lambda head: len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0),
    (_MP3, lambda head: len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2),
)


def sniff(data: bytes) -> FileType | None:
    """The type that the first bytes say, or None where it is none of these."""
    if data[4:8] == b"ftyp":
        return _iso_type(data)
    return next((file_type for file_type, matches in _SIGNATURES if matches(data[:1024])), None)


def picture_type(data: bytes) -> FileType | None:
    """As `sniff`, of a picture that is decoded here; None of anything else."""
    file_type = sniff(data)
    return file_type if file_type is not None and file_type.kind is Kind.IMAGE else None


def _iso_type(data: bytes) -> FileType | None:
    """What an ISO base media file is, by its brands (https://mp4ra.org/registered-types/brands)."""
    major = data[8:12]
    if major in _HEIC_BRANDS:
        return _HEIC
    if major in _HEIF_BRANDS:
        # AVIF files may have this brand first too, and are not taken.
        compatible = data[16 : min(int.from_bytes(data[:4]), 1024)]
        return None if b"avif" in compatible else _HEIF
    if major in (b"avif", b"avis"):
        return None
    if major == b"qt  ":
        return _MOV
    return _3GPP if major.startswith(b"3g") else _MP4
