"""Real media files, made here: pictures, PDFs, videos and sounds of a stated size or length."""

import struct
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pypdfium2
from PIL import Image


def picture(format: str = "PNG", width: int = 64, height: int = 48, **options: object) -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height), (200, 120, 40)).save(out, format, **options)
    return out.getvalue()


def turned_picture(format: str, width: int, height: int) -> bytes:
    """Stored as `width` x `height`, to be shown turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(format, width, height, exif=exif)


def heic(width: int = 640, height: int = 480) -> bytes:
    """The boxes of a HEIC file; what is in them is coded as AVIF."""
    return picture("AVIF", width, height).replace(b"ftypavif", b"ftypheic")


def turned_heic(width: int, height: int) -> bytes:
    """With the property that turns it by a quarter."""
    whole = heic(width, height)
    turn = struct.pack(">I4sB", 9, b"irot", 1)
    for box in (b"ipco", b"iprp", b"meta"):
        place = whole.index(box) - 4
        (size,) = struct.unpack_from(">I", whole, place)
        whole = whole[:place] + struct.pack(">I", size + len(turn)) + whole[place + 4 :]
        if box == b"ipco":
            whole = whole[: place + size] + turn + whole[place + size :]
    return whole


def pdf(pages: int = 1) -> bytes:
    document = pypdfium2.PdfDocument.new()
    for _ in range(pages):
        document.new_page(595, 842)
    out = BytesIO()
    document.save(out)
    document.close()
    return out.getvalue()


def encrypted_pdf() -> bytes:
    """A page behind a password: its trailer says so, and the key is not that of an empty one."""
    whole = pdf()
    lock = b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"ab" * 32 + b">/U<" + b"cd" * 32 + b">>>"
    return whole.replace(b"/Root", b"/ID[<" + b"01" * 16 + b"><" + b"01" * 16 + b">]/Encrypt " + lock + b"/Root", 1)


def claiming_mp4(samples: int, tracks: int) -> bytes:
    """Of a second: some hundred bytes that claim so many samples a track, of a byte each."""
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    entry = _box(
        b"avc1", bytes(6), b"\0\1", bytes(16), struct.pack(">HHIIIH", 64, 64, 72 << 16, 72 << 16, 0, 1), bytes(36)
    )
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), entry),
        _box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        _box(b"stsz", struct.pack(">III", 0, 1, samples)),
        _box(b"stco", struct.pack(">III", 0, 1, 100)),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1_000, 1_000, 0, 0)),
        _box(b"hdlr", bytes(8), b"vide", bytes(13)),
        _box(b"minf", _box(b"vmhd", bytes(12)), table),
    )
    each = [
        _box(
            b"trak",
            _box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, number, 0, 1_000), bytes(16), matrix, bytes(8)),
            media,
        )
        for number in range(1, tracks + 1)
    ]
    header = _box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 1_000, 1_000), bytes(80))
    return _box(b"ftyp", b"isom", bytes(4), b"isom") + _box(b"moov", header, *each) + _box(b"mdat", bytes(64))


def _box(kind: bytes, *parts: bytes) -> bytes:
    payload = b"".join(parts)
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


# FFmpeg's container, its video codec and its audio codec, by what the file is.
FILMS = {
    "video/mp4": ("mp4", "mpeg4", "aac"),
    "video/quicktime": ("mov", "mpeg4", "aac"),
    "video/webm": ("webm", "libvpx", "libopus"),
    "video/x-matroska": ("matroska", "mpeg4", "aac"),
    "video/x-msvideo": ("avi", "mpeg4", "mp3"),
    "video/mpeg": ("mpegts", "mpeg2video", "mp2"),
}
SOUNDS = {
    "audio/wav": ("wav", "pcm_s16le"),
    "audio/mp3": ("mp3", "mp3"),
    "audio/aac": ("adts", "aac"),
    "audio/ogg": ("ogg", "libopus"),
    "audio/flac": ("flac", "flac"),
    "audio/mp4": ("ipod", "aac"),
    "audio/aiff": ("aiff", "pcm_s16be"),
}


def film(
    mime_type: str = "video/mp4", seconds: int = 2, frames_per_second: int = 10, sound: bool = False, size: int = 64
) -> bytes:
    container_format, video_codec, audio_codec = FILMS[mime_type]
    out = BytesIO()
    with av.open(out, "w", format=container_format) as container:
        video = container.add_stream(video_codec, rate=frames_per_second)
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        audio = container.add_stream(audio_codec, rate=48_000, layout="mono") if sound else None
        for number in range(seconds * frames_per_second):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), number % 256, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            _encode_silence(container, audio, seconds)
    return out.getvalue()


def live_webm(seconds: int) -> bytes:
    """As a browser records it: the header is written before the length is known."""
    out = BytesIO()
    with av.open(out, "w", format="webm", options={"live": "1"}) as container:
        video = container.add_stream("libvpx", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for _ in range(seconds * 10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return out.getvalue()


def song_with_cover(seconds: int) -> bytes:
    """An MP3 with a picture in its ID3 tag."""
    cover = b"\x00image/png\x00\x03\x00" + picture("PNG")
    frame = b"APIC" + struct.pack(">IH", len(cover), 0) + cover
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame + sound("audio/mp3", seconds)


def sound(mime_type: str = "audio/wav", seconds: int = 3) -> bytes:
    container_format, codec = SOUNDS[mime_type]
    out = BytesIO()
    with av.open(out, "w", format=container_format) as container:
        _encode_silence(container, container.add_stream(codec, rate=48_000, layout="mono"), seconds)
    return out.getvalue()


def _encode_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: int) -> None:
    size = stream.codec_context.frame_size or 1_024
    sample_format = stream.codec_context.format.name if stream.codec_context.format else "s16"
    resampler = av.AudioResampler(format=sample_format, layout="mono", rate=48_000, frame_size=size)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, seconds * 48_000), np.int16), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(stream.encode(piece))
    container.mux(stream.encode())
