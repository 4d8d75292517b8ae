"""Requests whose media are names and addresses, turned into requests whose media are bytes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from chiasm.v1 import errors_pb2, media_pb2
from services.gateway.media.contents import media_of
from services.gateway.media.failures import not_fetched, not_stored
from services.gateway.media.fetching import Fetcher
from services.gateway.media.room import Room
from services.gateway.media.slots import Slots
from services.gateway.media.store import MediaStore, digest_of
from services.runtime.errors import DeadlineExceeded, InvalidArgument, PermissionDenied
from services.runtime.together import together

R = TypeVar("R", bound=Message)

_OBJECT = "gs://"
# What a field of bytes adds to its content: tags and lengths, its own and those of the messages around it.
_FIELD_BYTES = 32


@dataclass(frozen=True)
class ResolveLimits:
    """How much is loaded."""

    max_media_bytes: int = 20 * 2**20
    """Of one media."""
    max_request_bytes: int = 32 * 2**20
    """Of a request with everything in it, as a model server takes it."""
    max_media: int = 64
    """Media of a request that are named, each as often as it is."""
    max_requests: int = 16
    """Requests for which uploads are loaded at once, and as many for which addresses are, so that memory is bounded;
    more wait. A quarter of them for one tenant."""
    max_parallel: int = 8
    """Media of one request that are loaded at once."""


class Resolver:
    """Puts bytes in the place of uploads' names and of addresses. `gs://` stays: providers read it by themselves."""

    def __init__(self, store: MediaStore, fetcher: Fetcher, limits: ResolveLimits) -> None:
        self._store = store
        self._fetcher = fetcher
        self._limits = limits
        self._reading = Slots(limits.max_requests)
        self._fetching = Slots(limits.max_requests)

    async def resolve(
        self, request: R, tenant: str, deadline: float, may_read: Callable[[str], bool] = lambda _: True
    ) -> R:
        """The request itself where nothing is to be loaded, else a copy of it.

        Args:
            request: checked; its media may be anywhere in it.
            tenant: whose uploads it may name.
            deadline: by the event loop's clock, in seconds.
            may_read: whether a provider may be told to read `bucket/object` for this tenant.

        Raises:
            NotFound: an upload is not kept; `field` names the media's.
            InvalidArgument: a name or address is none, leads nowhere, or to too much; `field` names the media's.
            PermissionDenied: a `gs://` object is none of the tenant's; `field` names the media's.
            Unavailable: the store fails.
            DeadlineExceeded: not all was there in time.
        """
        _check_objects(request, may_read)
        wanted = _wanted(request, self._limits.max_media)
        if not wanted:
            return request
        # Uploads are there at once, and do not wait for other people's servers.
        slots = self._reading if all(map(digest_of, wanted)) else self._fetching
        try:
            async with asyncio.timeout_at(deadline) as scope, slots.slot(tenant):
                room = Room(self._limits.max_media_bytes, self._room(request, wanted))
                found = await self._load(wanted, tenant, room)
                # Many megabytes may be copied.
                return await asyncio.to_thread(_filled, request, found)
        except TimeoutError:
            if scope.expired():
                raise DeadlineExceeded("the media that the request names were not there in time") from None
            raise

    def most_bytes(self, request: Message) -> int:
        """That the request's media may have once they are loaded."""
        media = [each for _, each in media_of(request)]
        named = sum(_source(each) is not None for each in media)
        loaded = min(named * self._limits.max_media_bytes, self._limits.max_request_bytes)
        return sum(each.ByteSize() for each in media) + loaded

    def _room(self, request: Message, wanted: dict[str, list[str]]) -> int:
        return self._limits.max_request_bytes - request.ByteSize() - _FIELD_BYTES * sum(map(len, wanted.values()))

    async def _load(self, wanted: dict[str, list[str]], tenant: str, room: Room) -> dict[str, bytes]:
        """What is named several times is loaded once, and takes its room each time."""
        at_once = asyncio.Semaphore(self._limits.max_parallel)
        found: dict[str, bytes] = {}

        async def load(source: str, field: str, *further: str) -> None:
            async with at_once:
                if digest := digest_of(source):
                    data = await self._store.get(tenant, digest, room, field=field)
                    if data is None:
                        raise not_stored(field)
                else:
                    data = await self._fetcher.fetch(source, room, tenant=tenant, field=field)
                for other in further:
                    room.take(0, len(data), other)
                found[source] = data

        await together(*(load(source, *fields) for source, fields in wanted.items()))
        return found


def _check_objects(request: Message, may_read: Callable[[str], bool]) -> None:
    for field, media in media_of(request):
        if media.uri.startswith(_OBJECT) and not may_read(media.uri.removeprefix(_OBJECT)):
            raise PermissionDenied("this `gs://` object is not allowed for this tenant", field=f"{field}.uri")


def _wanted(request: Message, max_media: int) -> dict[str, list[str]]:
    """The sources to be loaded, each with the fields that name it. Raises InvalidArgument for one that is none."""
    wanted: dict[str, list[str]] = {}
    references = 0
    for field, media in media_of(request):
        source = _source(media)
        if source is None:
            continue
        kind = media.WhichOneof("source")
        if kind == "name" and digest_of(source) is None:
            raise InvalidArgument("an upload is named `media/sha256-` and 64 digits", field=f"{field}.name")
        if kind == "uri" and not source.startswith(("https://", "http://")):
            raise not_fetched("send an `https://` address, a `gs://` object, or upload the file", f"{field}.uri")
        wanted.setdefault(source, []).append(f"{field}.{kind}")
        references += 1
        if references > max_media:
            raise InvalidArgument(
                f"more than {max_media} media by name or address",
                field=f"{field}.{kind}",
                reason=errors_pb2.ERROR_REASON_MEDIA_COUNT,
            )
    return wanted


def _filled(request: R, found: dict[str, bytes]) -> R:
    """A copy with bytes in the place of their sources."""
    filled = type(request)()
    filled.CopyFrom(request)
    for _, media in media_of(filled):
        if (source := _source(media)) in found:
            media.data = found[source]
    return filled


def _source(media: media_pb2.Media) -> str | None:
    """The name or address to be loaded; None where there is nothing to load."""
    match media.WhichOneof("source"):
        case "name":
            return media.name
        case "uri" if not media.uri.startswith(_OBJECT):
            return media.uri
    return None
