"""MediaService's RPCs: protos in, protos out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc

from chiasm.v1 import errors_pb2, media_service_pb2, media_service_pb2_grpc
from services.gateway.media.failures import not_stored, too_large
from services.gateway.media.incoming import Incoming, incoming
from services.gateway.media.slots import Slots
from services.gateway.media.store import MediaStore, StoredMedia, digest_of
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import DeadlineExceeded, InvalidArgument, Overloaded

MAX_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class UploadLimits:
    """What is taken."""

    max_bytes: int = 100 * 2**20
    """Of one file."""
    max_concurrent: int = 32
    """Uploads at once, each of which may take `max_bytes` of the temporary folder; one more is refused, and one more
    than a quarter of them for one tenant."""
    max_pause_s: float = 10.0
    """Longest wait for the next piece."""
    default_timeout_s: float = 60.0
    """Of a call whose caller gave no deadline."""
    max_timeout_s: float = 600.0


class MediaServer(media_service_pb2_grpc.MediaServiceServicer):
    """Keeps each tenant's uploads."""

    def __init__(
        self, kept: MediaStore, limits: UploadLimits, tenant_of: Callable[[grpc.aio.ServicerContext], str]
    ) -> None:
        """`tenant_of` says whose a call is."""
        self._store = kept
        self._tenant_of = tenant_of
        self._limits = limits
        self._uploads = Slots(limits.max_concurrent)

    async def Upload(
        self, requests: AsyncIterator[media_service_pb2.UploadRequest], context: grpc.aio.ServicerContext
    ) -> media_service_pb2.UploadResponse:
        tenant = self._tenant_of(context)
        if self._uploads.full(tenant):
            raise Overloaded("as many uploads run already as may")
        async with self._uploads.slot(tenant), within(self._timeout_s(context)), incoming() as file:
            pieces = aiter(requests)
            first = await self._next(pieces) or media_service_pb2.UploadRequest()
            self._check_first(first)
            await self._receive(first.data, file)
            while (request := await self._next(pieces)) is not None:
                if request.name or request.size_bytes:
                    raise InvalidArgument("belongs into the first message alone", field=_set_field(request))
                await self._receive(request.data, file)
            _check_whole(first, file)
            stored = await self._store.put(tenant, file)
        return media_service_pb2.UploadResponse(media=_to_proto(stored))

    async def GetMedia(
        self, request: media_service_pb2.GetMediaRequest, context: grpc.aio.ServicerContext
    ) -> media_service_pb2.GetMediaResponse:
        tenant, digest = self._tenant_of(context), _digest(request.name)
        async with within(self._timeout_s(context)):
            found = await self._store.find(tenant, digest)
        if found is None:
            raise not_stored("name")
        return media_service_pb2.GetMediaResponse(media=_to_proto(found))

    async def DeleteMedia(
        self, request: media_service_pb2.DeleteMediaRequest, context: grpc.aio.ServicerContext
    ) -> media_service_pb2.DeleteMediaResponse:
        tenant, digest = self._tenant_of(context), _digest(request.name)
        async with within(self._timeout_s(context)):
            await self._store.delete(tenant, digest)
        return media_service_pb2.DeleteMediaResponse()

    async def _next(
        self, pieces: AsyncIterator[media_service_pb2.UploadRequest]
    ) -> media_service_pb2.UploadRequest | None:
        """None at their end."""
        try:
            async with asyncio.timeout(self._limits.max_pause_s) as pause:
                return await anext(pieces, None)
        except TimeoutError:
            if pause.expired():
                raise DeadlineExceeded(f"no piece of the file came for {self._limits.max_pause_s:g} s") from None
            raise

    async def _receive(self, data: bytes, file: Incoming) -> None:
        if len(data) > MAX_CHUNK_BYTES:
            raise too_large("a piece", MAX_CHUNK_BYTES, "data")
        if file.size_bytes + len(data) > self._limits.max_bytes:
            raise too_large("the file", self._limits.max_bytes, "data")
        await file.write(data)

    def _check_first(self, first: media_service_pb2.UploadRequest) -> None:
        if first.name:
            _digest(first.name)
        if first.size_bytes < 0:
            raise InvalidArgument("0 or more", field="size_bytes")
        if first.size_bytes > self._limits.max_bytes:
            raise too_large("the file", self._limits.max_bytes, "size_bytes")

    def _timeout_s(self, context: grpc.aio.ServicerContext) -> float:
        return remaining_s(context, self._limits.default_timeout_s, self._limits.max_timeout_s)


def _check_whole(first: media_service_pb2.UploadRequest, file: Incoming) -> None:
    if not file.size_bytes:
        raise InvalidArgument("the file is empty", field="data", reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED)
    if first.size_bytes and first.size_bytes != file.size_bytes:
        raise InvalidArgument(f"{file.size_bytes:,} bytes came", field="size_bytes")
    if first.name and digest_of(first.name) != file.digest:
        raise InvalidArgument("the bytes that came are of another name", field="name")


def _digest(name: str) -> str:
    digest = digest_of(name)
    if digest is None:
        raise InvalidArgument("an upload is named `media/sha256-` and 64 digits", field="name")
    return digest


def _set_field(request: media_service_pb2.UploadRequest) -> str:
    return "name" if request.name else "size_bytes"


def _to_proto(stored: StoredMedia) -> media_service_pb2.StoredMedia:
    message = media_service_pb2.StoredMedia(name=stored.name, size_bytes=stored.size_bytes, mime_type=stored.mime_type)
    message.expire_time.FromDatetime(stored.expires)
    return message
