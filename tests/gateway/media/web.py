"""A small web on loopback: 127.0.0.2 stands for the internet, where a helpful and a malicious server are; 127.0.0.1 and
::1 are inside, where a trap counts who comes."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from services.gateway.media.addresses import AllowedHosts
from services.gateway.media.fetching import Fetcher, FetchLimits
from tests.pictures import scene_png

OUTSIDE = "127.0.0.2"
INSIDE = ("127.0.0.1", "::1")
PNG = scene_png()[1]


@dataclass
class Names:
    """A name server: each name's answers, one a question, the last one for ever."""

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def lookup(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError("no such name")
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class Trap:
    """What must never be reached."""

    port: int = 0
    connections: int = 0


@asynccontextmanager
async def trap() -> AsyncIterator[Trap]:
    """Listens on every address inside, on one port."""
    caught = Trap()

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.connections += 1
        writer.close()

    async with await asyncio.start_server(count, INSIDE[0], 0) as first:
        caught.port = first.sockets[0].getsockname()[1]
        async with await asyncio.start_server(count, INSIDE[1], caught.port):
            yield caught


class Outside:
    """A server of the internet; `fetched` counts what it was asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.fetched: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://{OUTSIDE}:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.fetched.append(request.path_qs)
        self.headers.append(dict(request.headers))
        try:
            return await getattr(self, request.match_info["what"])(request)
        except asyncio.CancelledError:
            self.hung_up.set()
            raise

    async def picture(self, _request: web.Request) -> web.Response:
        return web.Response(body=PNG, headers={"Connection": "close", "Set-Cookie": "who=you"})

    async def to(self, request: web.Request) -> web.Response:
        """A redirect to wherever the query says."""
        status = int(request.query.get("status", 302))
        return web.Response(status=status, headers={"Location": request.query["url"], "Connection": "close"})

    async def hops(self, request: web.Request) -> web.Response:
        """So many redirects, then the picture."""
        left = int(request.query["left"])
        return web.Response(status=307, headers={"Location": f"/hops?left={left - 1}" if left > 1 else "picture"})

    async def loop(self, _request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/loop"})

    async def nowhere(self, _request: web.Request) -> web.Response:
        return web.Response(status=302)

    async def missing(self, _request: web.Request) -> web.Response:
        return web.Response(status=404, body=PNG)

    async def large(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(2**20))

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(2**16))

    async def slow(self, request: web.Request) -> web.StreamResponse:
        """A byte, and then silence."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\x89")
        await asyncio.Event().wait()
        return response

    async def silent(self, _request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def bomb(self, _request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(2**20)), headers={"Content-Encoding": "gzip"})

    async def cut(self, request: web.Request) -> web.StreamResponse:
        """Less than the header says."""
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"\x89PNG")
        request.transport.close()
        return response

    async def headers_without_end(self, request: web.Request) -> web.StreamResponse:
        request.transport.write(b"HTTP/1.1 200 OK\r\n")
        while not request.transport.is_closing():
            request.transport.write(b"X-Filler: " + b"x" * 4_096 + b"\r\n")
            await asyncio.sleep(0)
        return web.Response()


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """The malicious and helpful server, on a free port of 127.0.0.2."""
    server = Outside()
    app = web.Application()
    app.router.add_get("/{what}", server.answer)
    # A client that hung up ends its handler, as the endless ones need.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, OUTSIDE, 0)
    try:
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fetching(
    names: Names | None = None,
    *,
    ports: Iterable[int] = (),
    allowed: Iterable[str] = (OUTSIDE,),
    plaintext: bool = True,
    timeout_s: float = 20,
    **options: object,
) -> AsyncIterator[Fetcher]:
    """A Fetcher for whom 127.0.0.2 is the internet; nothing but addresses and names is in the way of hostile URLs."""
    limits = FetchLimits(
        timeout_s=timeout_s,
        ports=frozenset({80, 443, *ports}),
        plaintext=plaintext,
        allowed=AllowedHosts.parse(allowed),
    )
    fetcher = Fetcher(limits, lookup=(names or Names()).lookup, **options)
    try:
        yield fetcher
    finally:
        await fetcher.close()
