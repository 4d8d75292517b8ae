"""How requests travel to the provider: aiohttp, with what google-genai leaves to chance decided."""

from io import BytesIO

import aiohttp
from aiohttp.connector import Connection

from services.gemini_proxy.received import ReceivedResponse

CONNECT_S = 10.0
"""Seconds to connect in."""


def open_session() -> aiohttp.ClientSession:
    """To be closed. The books bound how many calls there are; a limit here would be a queue without a deadline."""
    return aiohttp.ClientSession(
        connector=_Connector(limit=0), trust_env=True, request_class=_Request, response_class=ReceivedResponse
    )


class _Connector(aiohttp.TCPConnector):
    """Gives up connecting while it is certain that nothing was sent: google-genai bounds but the call as a whole."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        return await super().connect(req, traces, aiohttp.ClientTimeout(total=timeout.total, connect=CONNECT_S))


class _Request(aiohttp.ClientRequest):
    """Sends large bodies piece by piece: aiohttp would write bytes at once and hold up the event loop meanwhile."""

    def update_body_from_data(self, body: object, _stacklevel: int = 3) -> None:
        super().update_body_from_data(BytesIO(body) if isinstance(body, bytes) else body, _stacklevel)
