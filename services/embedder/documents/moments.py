"""The moments of a film, one a scene. Only in a child process: what a few bytes claim takes gigabytes, or a crash."""

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO

import av
from av import FFmpegError, VideoFrame
from av.container import InputContainer
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from chiasm.v1 import errors_pb2
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.part import Part, Refused
from services.embedder.documents.previews import fitted, jpeg
from services.embedder.documents.scenes import Scene, Shown, scenes
from services.runtime.media_types import FileType

_MIN_SCENE_S = 1.0
_LEAST_READ = 0.9
"""Of a film's length and of its frames; of one of which less can be read, most is missing or damaged."""
_DECODER_THREADS = 4  # each takes addresses, of which a child has few
_OUT_OF_MEMORY = MemoryError, BlockingIOError
"""Of FFmpegErrors those that are no damage: the latter where a thread's stack finds no room."""


def moments(data: bytes, file_type: FileType, limits: DocumentLimits) -> Iterator[Part]:
    """Each moment, as its scene ends. Frames that cannot be decoded are passed over, as players do.

    Raises Refused; MemoryError or BlockingIOError where memory ends; almost any other exception for a film that is
    damaged in its midst.
    """
    with _opened(data, file_type) as container:
        video = _video(container, file_type)
        _check_size(video.codec_context.width, video.codec_context.height, limits)
        film_s = container.duration / av.time_base if container.duration else 0.0
        _check_length(film_s, limits)
        least_s = max(_MIN_SCENE_S, film_s / limits.max_moments)
        most = min(limits.max_moments, int(film_s / least_s) + 1) if film_s else limits.max_moments
        for number, scene in enumerate(scenes(_shown(container, video, limits), least_s)):
            if number == limits.max_moments:  # it is longer than its header says
                raise Refused(
                    f"the film has more than {limits.max_moments:,} scenes", errors_pb2.ERROR_REASON_MEDIA_SIZE
                )
            yield _part(scene, number, most, video, limits)


def _opened(data: bytes, file_type: FileType) -> InputContainer:
    try:
        return av.open(BytesIO(data), format=file_type.demuxer)
    except _OUT_OF_MEMORY:
        raise
    except FFmpegError as error:
        raise _damaged() from error


def _video(container: InputContainer, file_type: FileType) -> VideoStream:
    # A song's cover is a video stream of one picture.
    video = next((s for s in container.streams.video if not s.disposition & s.disposition.attached_pic), None)
    if video is not None:
        return video
    if container.streams.audio:
        raise Refused(
            f"the {file_type.audio_mime_type or file_type.mime_type} is sound without pictures",
            errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED,
        )
    raise _damaged()


def _check_size(width: int, height: int, limits: DocumentLimits) -> None:
    if width * height > limits.image.max_pixels:
        raise Refused(
            f"the film is {width:,} x {height:,} pixels; at most {limits.image.max_pixels:,} are taken",
            errors_pb2.ERROR_REASON_MEDIA_SIZE,
        )


def _check_length(seconds: float | Fraction, limits: DocumentLimits) -> None:
    if seconds > limits.max_film_s:
        raise Refused(
            f"the film lasts {float(seconds):,.1f} s or more; at most {limits.max_film_s:,.1f} s are taken",
            errors_pb2.ERROR_REASON_MEDIA_SIZE,
        )


def _shown(container: InputContainer, video: VideoStream, limits: DocumentLimits) -> Iterator[Shown]:
    """The film's frames, each shown until the next one is."""
    frames = _frames(container, video)
    frame = next(frames, None)
    if frame is None:
        raise _damaged()
    first_s = start_s = frame.pts * frame.time_base
    lasts_s = Fraction(0)
    for following in frames:
        end_s = following.pts * following.time_base
        if end_s <= start_s:
            continue
        _check_length(end_s - first_s, limits)
        yield Shown(frame, start_s - first_s, end_s - first_s)
        frame, start_s, lasts_s = following, end_s, end_s - start_s
    end_s = start_s + (frame.duration * frame.time_base or lasts_s)
    _check_length(end_s - first_s, limits)
    yield Shown(frame, start_s - first_s, end_s - first_s)


def _frames(container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    video.thread_type, video.thread_count = "AUTO", _DECODER_THREADS
    packets = failed = 0
    read_s = Fraction(0)
    for packet in container.demux():  # of all streams: the file ends where the last of them does
        if packet.pts is not None:
            read_s = max(read_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream is not video:
            continue
        packets += 1
        try:
            frames = packet.decode()
        except _OUT_OF_MEMORY:
            raise
        except FFmpegError:
            failed += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                failed += 1
            elif frame.pts is not None:
                yield frame
    film_s = Fraction(container.duration or 0, av.time_base)
    if read_s - Fraction(container.start_time or 0, av.time_base) < film_s * Fraction(_LEAST_READ):
        raise _damaged()
    if failed > packets * (1 - _LEAST_READ):
        raise _damaged()


def _damaged() -> Refused:
    return Refused("the film is cut short or damaged", errors_pb2.ERROR_REASON_MEDIA_CORRUPT)


def _part(scene: Scene, number: int, most: int, video: VideoStream, limits: DocumentLimits) -> Part:
    frame = scene.frame
    width = max(1, round(frame.width * (video.sample_aspect_ratio or 1)))
    _check_size(width, frame.height, limits)  # as it is shown: a pixel may claim to be a million wide
    small = frame.reformat(*fitted(width, frame.height), "rgb24", interpolation=Interpolation.BICUBIC)
    width, height = (frame.height, width) if frame.rotation % 180 else (width, frame.height)
    picture = jpeg(small.to_image().rotate(frame.rotation, expand=True))
    return Part(
        "moment",
        number,
        picture,
        picture,
        width,
        height,
        start_s=float(scene.start_s),
        end_s=float(scene.end_s),
        of=most,
    )
