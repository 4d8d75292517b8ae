"""All that the gateway does about media that requests name, as its settings say."""

from collections.abc import Callable
from datetime import timedelta
from typing import Self

import grpc

from services.gateway.config import GatewaySettings
from services.gateway.media.addresses import AllowedHosts
from services.gateway.media.fetching import Fetcher, FetchLimits
from services.gateway.media.resolving import ResolveLimits, Resolver
from services.gateway.media.service import MediaServer, UploadLimits
from services.gateway.media.store import MediaStore
from services.runtime.config import BadSetting


class MediaDesk:
    """Takes uploads in, and loads what requests name."""

    def __init__(self, store: MediaStore, server: MediaServer, fetcher: Fetcher, resolver: Resolver) -> None:
        self.server = server
        self.resolver = resolver
        self._store = store
        self._fetcher = fetcher

    @classmethod
    def open(cls, settings: GatewaySettings, tenant_of: Callable[[grpc.aio.ServicerContext], str]) -> Self:
        """To be called where the event loop runs; `tenant_of` says whose a call is. Raises BadSetting."""
        try:
            allowed = AllowedHosts.parse(settings.fetch_allowed_hosts)
        except ValueError as error:
            raise BadSetting("fetch_allowed_hosts", str(error)) from error
        try:
            store = MediaStore.open(settings.media_store, timedelta(seconds=settings.media_ttl_s))
        except (ValueError, OSError) as error:
            raise BadSetting("media_store", str(error)) from error
        uploads = UploadLimits(
            max_bytes=settings.max_upload_bytes,
            max_concurrent=settings.max_uploads,
            default_timeout_s=settings.default_timeout_s,
            max_timeout_s=settings.max_timeout_s,
        )
        fetcher = Fetcher(
            FetchLimits(
                timeout_s=settings.fetch_timeout_s,
                ports=frozenset(settings.fetch_ports),
                plaintext=settings.fetch_plaintext,
                allowed=allowed,
            )
        )
        loaded = ResolveLimits(max_media_bytes=settings.max_media_bytes, max_request_bytes=settings.max_message_bytes)
        return cls(store, MediaServer(store, uploads, tenant_of), fetcher, Resolver(store, fetcher, loaded))

    async def run(self) -> None:
        """Forgets uploads in their time, for ever."""
        await self._store.keep_swept()

    async def close(self) -> None:
        await self._fetcher.close()
