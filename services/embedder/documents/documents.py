"""Files taken apart: pictures here, PDFs and films in child processes of bounded memory and time."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from chiasm.v1 import errors_pb2
from chiasm.v1.errors_pb2 import ErrorReason
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.part import Part, Refusal, Refused
from services.embedder.documents.pictures import picture_part
from services.runtime.child_streams import ChildStreams
from services.runtime.children import CallFailed, ChildKilled, OutOfBounds
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.media_types import FileType, Kind, sniff

_CHILD_BYTES = 3 * 2**30
"""Addresses, of which a film of 4,096 x 2,160 pixels takes 0.8 GiB and one of four times its pixels so many more."""
_PART_TIMEOUT_S = 120.0
"""For a page, or for the frames of a scene: of such a film, two cores read 30 s in about as many."""
_TAKEN = "PNG, JPEG, WebP, GIF, PDF, MP4, MOV, WebM, MKV, AVI, MPEG, OGG"


class Documents:
    """Takes files apart. Child processes start with the first PDF or film and end with `close` or with this process."""

    def __init__(self, limits: DocumentLimits, *, processes: int) -> None:
        """`processes` is most PDFs and films that are read at once, 1 or more; others wait."""
        self._limits = limits
        self._streams = ChildStreams(_parts, children=processes, memory_bytes=_CHILD_BYTES, timeout_s=_PART_TIMEOUT_S)
        # Each may hold the greatest picture twice.
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")

    async def parts(self, data: bytes, *, field: str, mime_type: str) -> AsyncGenerator[Part, None]:
        """The parts of one file, by number: 1 or more. A part is made while the last one is worked on, not before.

        A type stated in `mime_type` must be what the bytes are. To be closed (`aclosing`) by who leaves it early.
        Raises InvalidArgument naming `field` for whatever is not read here, exceeds the limits, is encrypted or
        damaged, or takes more time or memory than there is, at whatever part that shows: a file is indexed as a whole
        or not at all. Raises Unavailable where the child was killed from outside.
        """
        try:
            file_type = self._checked_type(data, mime_type)
            if file_type.kind is Kind.IMAGE:
                work = (self._threads, picture_part, data, file_type.mime_type, self._limits.image)
                yield await asyncio.get_running_loop().run_in_executor(*work)
                return
            async with aclosing(self._of_child(data, file_type)) as parts:
                async for part in parts:
                    yield part
        except Refused as error:
            raise InvalidArgument(error.refusal.message, field=field, reason=error.refusal.reason) from error

    async def close(self) -> None:
        """Ends the child processes. No file may be at work."""
        await self._streams.close()
        self._threads.shutdown(wait=False)

    async def _of_child(self, data: bytes, file_type: FileType) -> AsyncGenerator[Part, None]:
        """Raises Refused and Unavailable."""
        read = 0
        refusal: Refusal | None = None
        try:
            async with aclosing(self._streams(data, file_type, self._limits)) as parts:
                async for part in parts:
                    if isinstance(part, Refusal):
                        refusal = part  # the last that comes
                    else:
                        yield part
                        read += 1
        except ChildKilled as error:
            raise Unavailable("the process that read the file was ended: send it again") from error
        except CallFailed as error:
            place = f"{'page' if file_type.kind is Kind.PDF else 'moment'} {read + 1}"
            if isinstance(error, OutOfBounds):
                raise Refused(
                    f"the {file_type.mime_type} takes more time or memory than there is, at {place}: "
                    f"{_PART_TIMEOUT_S:g} s and {_CHILD_BYTES / 2**30:.3g} GiB",
                    errors_pb2.ERROR_REASON_MEDIA_SIZE,
                ) from error
            raise Refused(
                f"the {file_type.mime_type} is damaged at {place}", errors_pb2.ERROR_REASON_MEDIA_CORRUPT
            ) from error
        if refusal:
            raise Refused(refusal.message, refusal.reason)

    def _checked_type(self, data: bytes, mime_type: str) -> FileType:
        """Raises Refused."""
        if not data:
            raise Refused("the media is empty: send the bytes of a file", errors_pb2.ERROR_REASON_FIELD_REQUIRED)
        file_type = sniff(data)
        if file_type is None or file_type.kind is Kind.HEIF or not file_type.mime_type:
            raise Refused(f"the bytes are no media that is read here: send {_TAKEN}", _UNSUPPORTED)
        if mime_type and not file_type.is_called(mime_type):
            raise Refused(f"the bytes are {file_type.mime_type}, not {mime_type[:64]!r} as stated", _UNSUPPORTED)
        most = self._limits.image.max_bytes if file_type.kind is Kind.IMAGE else self._limits.max_bytes
        if len(data) > most:
            raise Refused(
                f"the {file_type.mime_type} has {len(data):,} bytes; at most {most:,} are taken",
                errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        return file_type


_UNSUPPORTED: ErrorReason = errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED


def _parts(data: bytes, file_type: FileType, limits: DocumentLimits) -> Iterator[Part | Refusal]:
    # Only the children load PDFium and FFmpeg.
    if file_type.kind is Kind.PDF:
        from services.embedder.documents.pages import pages

        parts = pages(data, limits)
    else:
        from services.embedder.documents.moments import moments

        parts = moments(data, file_type, limits)
    try:
        yield from parts
    except Refused as refused:
        yield refused.refusal
    except BlockingIOError as error:  # FFmpeg found no memory for a thread
        raise MemoryError from error
