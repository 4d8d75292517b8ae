"""Uploads, kept for a while in a folder or an object store that all gateways share.

An object is `tenant-<tenant>/<SHA-256>`: what a file is called follows from its content, and nobody finds another
tenant's. It is written in one piece once its bytes are whole, and again when it is uploaded again; its age is the time
since then, by the store's clock.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from services.gateway.media.failures import store_unavailable
from services.gateway.media.folder import check_space, sweep_staged
from services.gateway.media.incoming import HEAD_BYTES, Incoming
from services.gateway.media.room import Room
from services.runtime.errors import ChiasmError
from services.runtime.media_types import picture_type

logger = logging.getLogger(__name__)

SCHEMES = ("file", "s3", "s3a", "gs", "az")
SWEEP_TIMEOUT_S = 300.0
SWEEP_PAGE = 1_000

_KEY = re.compile(r"tenant-[A-Za-z0-9._-]{1,64}/[0-9a-f]{64}")
_NAME = re.compile(r"media/sha256-([0-9a-f]{64})")
_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}


def digest_of(name: str) -> str | None:
    """The SHA-256, in hexadecimal digits, in an upload's name; None where it is no such name."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True)
class StoredMedia:
    """A file that is stored."""

    digest: str
    """Its SHA-256, 64 hexadecimal digits."""
    size_bytes: int
    mime_type: str
    """What its first bytes say; empty where they say nothing that is known."""
    expires: datetime
    """Aware."""

    @property
    def name(self) -> str:
        return f"media/sha256-{self.digest}"


class MediaStore:
    """Every method raises Unavailable when the store fails; give each a deadline.

    Args:
        objects: where they are kept.
        ttl: how long.
    """

    def __init__(self, objects: ObjectStore, ttl: timedelta) -> None:
        self._objects = objects
        self._ttl = ttl
        self._folder = objects.prefix if isinstance(objects, LocalStore) else None

    @classmethod
    def open(cls, place: str, ttl: timedelta) -> Self:
        """`place` is a folder, which is made, or a URL such as `s3://bucket/prefix`, whose store is configured as its
        own tools are, by `AWS_*` and the like. Raises ValueError where it cannot be one, OSError for a folder."""
        scheme = place.partition("://")[0] if "://" in place else "file"
        if scheme not in SCHEMES:
            raise ValueError(f"a folder, or a URL of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        try:
            if scheme == "file":
                folder = place if "://" in place else Path(place).absolute().as_uri()
                return cls(from_url(folder, mkdir=True), ttl)
            return cls(from_url(place, retry_config=_RETRY), ttl)
        except BaseError as error:
            raise ValueError(str(error).partition("\n")[0]) from error

    async def put(self, tenant: str, file: Incoming) -> StoredMedia:
        """Keeps a whole file, which has bytes, from now on, however long it was kept already."""
        content = await file.read()
        with _failures():
            if self._folder is not None:
                await asyncio.to_thread(check_space, self._folder, file.size_bytes)
            # Two parts of 5 MiB at once: what an upload takes of the memory.
            await self._objects.put_async(_key(tenant, file.digest), content, max_concurrency=2)
        expires = datetime.now(UTC) + self._ttl
        return StoredMedia(file.digest, file.size_bytes, _mime_type(file.head), expires)

    async def find(self, tenant: str, digest: str) -> StoredMedia | None:
        """What is known of a file; None where it is not kept."""
        with _failures():
            try:
                meta = await self._objects.head_async(_key(tenant, digest))
                if self._expired(meta["last_modified"]):
                    return None
                head = await self._objects.get_range_async(
                    _key(tenant, digest), start=0, length=min(HEAD_BYTES, meta["size"])
                )
            except FileNotFoundError:
                return None
        return StoredMedia(digest, meta["size"], _mime_type(bytes(head)), meta["last_modified"] + self._ttl)

    async def get(self, tenant: str, digest: str, room: Room, *, field: str) -> bytes | None:
        """A file's bytes, which are those of its name; None where it is not kept.

        Raises InvalidArgument naming `field` where `room` has too little for it.
        """
        with _failures():
            try:
                found = await self._objects.get_async(_key(tenant, digest))
                if self._expired(found.meta["last_modified"]):
                    return None
                room.take(0, found.meta["size"], field)
                data = bytes(await found.bytes_async())
            except FileNotFoundError:
                return None
        if await asyncio.to_thread(_sha256, data) != digest:
            logger.error("a stored media is damaged, and is removed", extra={"digest": digest})
            await self.delete(tenant, digest)
            return None
        return data

    async def delete(self, tenant: str, digest: str) -> None:
        """Forgets a file, if it is kept."""
        with _failures():
            await self._delete([_key(tenant, digest)])

    async def keep_swept(self) -> None:
        """Sweeps for ever. A sweep that fails is logged, and the next one tries again."""
        while True:
            try:
                async with asyncio.timeout(SWEEP_TIMEOUT_S):
                    await self.sweep()
            except (ChiasmError, TimeoutError) as error:
                logger.warning("uploads were not swept to the end: %r", error)
            await asyncio.sleep(min(max(self._ttl.total_seconds() / 4, 60.0), 3_600.0))

    async def sweep(self) -> int:
        """Removes what has expired, page by page, and says how many. Any number of gateways may sweep at once.
        What has no name of an upload is somebody else's, and stays.

        An upload that renews an expired file in the instant of its removal is lost: its user is told to upload it.
        """
        removed = 0
        with _failures():
            async for page in self._objects.list_async(chunk_size=SWEEP_PAGE):
                uploads = [meta for meta in page if _KEY.fullmatch(meta["path"])]
                expired = [meta["path"] for meta in uploads if self._expired(meta["last_modified"])]
                await self._delete(expired)
                removed += len(expired)
            if self._folder is not None:
                removed += await asyncio.to_thread(sweep_staged, self._folder, self._ttl.total_seconds())
        if removed:
            logger.info("expired uploads were removed", extra={"uploads": removed})
        return removed

    async def _delete(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await self._objects.delete_async(key)
            except FileNotFoundError:
                continue  # another gateway was first

    def _expired(self, modified: datetime) -> bool:
        return modified + self._ttl <= datetime.now(UTC)


def _key(tenant: str, digest: str) -> str:
    # Tenants may be called `.` and `..`, which paths may not.
    return f"tenant-{tenant}/{digest}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _mime_type(head: bytes) -> str:
    file_type = picture_type(head)
    return file_type.mime_type if file_type else ""


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        # What follows the first line are the server's own words, which may be long and tell of keys.
        logger.error("the media store failed: %s", str(error).partition("\n")[0])
        raise store_unavailable() from error
