"""Channels to the servers behind the gateway."""

import grpc

from services.gateway.config import GatewaySettings
from services.runtime.channel import open_channel


def channel_to(address: str, settings: GatewaySettings, *, service: str | None) -> grpc.aio.Channel:
    """With the settings' certificates; the caller closes it. `service` and what is raised are as in `open_channel`."""
    return open_channel(
        address,
        max_message_bytes=settings.max_message_bytes,
        ca_file=settings.target_ca_file,
        certificate_file=settings.target_certificate_file,
        key_file=settings.target_key_file,
        service=service,
    )
