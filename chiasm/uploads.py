"""The calls of MediaService, as both clients have them: a large file travels once, and is then asked about by name."""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self

import grpc

from chiasm.channel import Caller
from chiasm.errors import Internal, from_rpc_error
from chiasm.v1 import media_service_pb2
from chiasm.v1.media_service_pb2_grpc import MediaServiceStub

PIECE_BYTES = 2**20
"""The most that a message of an upload may hold."""

File = str | PathLike[str] | bytes
"""A file's path, or its bytes."""


@dataclass(frozen=True)
class StoredMedia:
    """A file that the gateway keeps."""

    name: str
    """`media/sha256-` and 64 hexadecimal digits: what to ask about it by."""
    size_bytes: int
    mime_type: str
    """What its first bytes say; empty where they say nothing that the gateway knows."""
    expires: datetime
    """When it is forgotten, unless it is uploaded again; aware."""


class UploadCalls(Caller):
    """Files that the gateway keeps for a while. Every method raises a ChiasmError when the call fails."""

    _media: MediaServiceStub

    def upload(self, file: File, *, timeout_s: float | None = None) -> StoredMedia:
        """Stores a file, read as it travels. Raises OSError when it cannot be read."""
        with closing(_Reading.open(file)) as reading, _errors(reading):
            response = self._media.Upload(reading.requests(), **self._options(timeout_s))
            return reading.checked(response)

    def media(self, name: str, *, timeout_s: float | None = None) -> StoredMedia:
        """What is known of an upload. Raises NotFound when it is not kept."""
        with _errors():
            return _stored(self._media.GetMedia(_get_request(name), **self._options(timeout_s)).media)

    def delete_media(self, name: str, *, timeout_s: float | None = None) -> None:
        """Removes an upload at once, if it is kept."""
        with _errors():
            self._media.DeleteMedia(_delete_request(name), **self._options(timeout_s))


class AsyncUploadCalls(Caller):
    """Files that the gateway keeps for a while. Every method raises a ChiasmError when the call fails."""

    _media: MediaServiceStub

    async def upload(self, file: File, *, timeout_s: float | None = None) -> StoredMedia:
        """Stores a file, read as it travels. Raises OSError when it cannot be read."""
        with closing(await asyncio.to_thread(_Reading.open, file)) as reading, _errors(reading):
            response = await self._media.Upload(_in_thread(reading.requests()), **self._options(timeout_s))
            return reading.checked(response)

    async def media(self, name: str, *, timeout_s: float | None = None) -> StoredMedia:
        """What is known of an upload. Raises NotFound when it is not kept."""
        with _errors():
            return _stored((await self._media.GetMedia(_get_request(name), **self._options(timeout_s))).media)

    async def delete_media(self, name: str, *, timeout_s: float | None = None) -> None:
        """Removes an upload at once, if it is kept."""
        with _errors():
            await self._media.DeleteMedia(_delete_request(name), **self._options(timeout_s))


class _Reading:
    """A file as it is read for an upload. gRPC hides what its requests raise, so that a failure is kept here."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._hash = hashlib.sha256()
        self.failure: OSError | None = None

    @classmethod
    def open(cls, file: File) -> Self:
        if isinstance(file, bytes):
            return cls(io.BytesIO(file), len(file))
        opened = Path(file).open("rb", buffering=0)  # noqa: SIM115 - `close` closes it
        return cls(opened, os.fstat(opened.fileno()).st_size)

    def close(self) -> None:
        self._file.close()

    def requests(self) -> Iterator[media_service_pb2.UploadRequest]:
        """The size and the bytes. Ends early, and so short of the size, where the file cannot be read."""
        yield media_service_pb2.UploadRequest(size_bytes=self._size_bytes)
        try:
            while data := self._file.read(PIECE_BYTES):
                self._hash.update(data)
                yield media_service_pb2.UploadRequest(data=data)
        except OSError as error:
            self.failure = error

    def checked(self, response: media_service_pb2.UploadResponse) -> StoredMedia:
        """What was stored. Raises OSError where it is not the whole file, Internal where it is another."""
        if self.failure:
            raise self.failure
        stored = _stored(response.media)
        if stored.name != f"media/sha256-{self._hash.hexdigest()}":
            raise Internal("the server stored other bytes than were sent", reason="INTERNAL")
        return stored


@contextmanager
def _errors(reading: _Reading | None = None) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        if reading and reading.failure:
            raise reading.failure from None
        raise from_rpc_error(error) from error


async def _in_thread(
    requests: Iterator[media_service_pb2.UploadRequest],
) -> AsyncIterator[media_service_pb2.UploadRequest]:
    while (request := await asyncio.to_thread(next, requests, None)) is not None:
        yield request


def _get_request(name: str) -> media_service_pb2.GetMediaRequest:
    return media_service_pb2.GetMediaRequest(name=name)


def _delete_request(name: str) -> media_service_pb2.DeleteMediaRequest:
    return media_service_pb2.DeleteMediaRequest(name=name)


def _stored(message: media_service_pb2.StoredMedia) -> StoredMedia:
    return StoredMedia(message.name, message.size_bytes, message.mime_type, message.expire_time.ToDatetime(UTC))
