"""Everything of a broken answer that has arrived: it is billed, so it must be heard."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp


class _Received:
    """aiohttp's reader, whose `iter_any`, by which google-genai reads streams, gives what lies in its buffer before it
    raises; by itself it drops that (https://github.com/aio-libs/aiohttp/blob/v3.14.5/aiohttp/streams.py)."""

    def __init__(self, reader: aiohttp.StreamReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            try:
                data = await self._reader.readany()
            except aiohttp.ClientError as error:
                self._reader.set_exception(None)
                if rest := self._reader.read_nowait():
                    yield rest
                raise error
            if not data:
                return
            yield data


class ReceivedResponse(aiohttp.ClientResponse):
    """For `aiohttp.ClientSession(response_class=...)`."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        response = await super().start(connection)
        self.content = _Received(self.content)
        return response
