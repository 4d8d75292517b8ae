import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from services.gemini_proxy.received import ReceivedResponse

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """A server that sends `body` after its headers, and then an orderly end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_came_before_the_break_is_given_however_late_it_is_read() -> None:
    async with (
        answering(b"5\r\nfirst\r\n6\r\nsecond\r\n") as url,
        aiohttp.ClientSession(response_class=ReceivedResponse) as session,
    ):
        response = await session.get(url)
        async with asyncio.timeout(10):
            while response.content.exception() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        pieces = response.content.iter_any()
        assert await anext(pieces) == b"firstsecond"
        with pytest.raises(aiohttp.ClientPayloadError):
            await anext(pieces)


async def test_a_whole_answer_is_read_to_its_end() -> None:
    async with (
        answering(b"5\r\nfirst\r\n0\r\n\r\n") as url,
        aiohttp.ClientSession(response_class=ReceivedResponse) as session,
    ):
        response = await session.get(url)
        assert b"".join([data async for data in response.content.iter_any()]) == b"first"
        assert await (await session.get(url)).read() == b"first"
