"""A proxy before the emulated Gemini whose answers are lost: what was asked may have been done all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.gemini.server import MAX_BODY_BYTES
from tests.gemini.wire import ApiError

_HOP_BY_HOP = {"transfer-encoding", "connection", "content-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Loss:
    """What comes in the place of an answer."""

    method: str
    path: str
    """A part of the request's path."""
    code: int | None = None
    """The status told; None where the connection is closed."""
    done: bool = True
    """Whether the emulator has done it before."""
    hangs: bool = False
    """Whether nothing comes until the client leaves."""
    times: int = 1


@dataclass
class Lossy:
    """Its address, and the losses that are yet to come; may be changed at any time."""

    base_url: str = ""
    losses: list[Loss] = field(default_factory=list)
    struck: list[Loss] = field(default_factory=list)

    def take(self, request: web.Request) -> Loss | None:
        """The loss that strikes this request."""
        for loss in self.losses:
            matches = loss.method == request.method and loss.path in request.path
            if matches and self.struck.count(loss) < loss.times:
                self.struck.append(loss)
                return loss
        return None


@asynccontextmanager
async def lossy(upstream: str, *losses: Loss) -> AsyncIterator[Lossy]:
    proxy = Lossy(losses=list(losses))
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def passed_on(request: web.Request) -> web.Response:
            url, body = f"{upstream}{request.raw_path}", request.content if request.can_read_body else None
            async with session.request(request.method, url, headers=request.headers, data=body) as answer:
                headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
                return web.Response(body=await answer.read(), status=answer.status, headers=headers)

        async def handle(request: web.Request) -> web.Response:
            loss = proxy.take(request)
            if loss is None:
                return await passed_on(request)
            if loss.done:
                await passed_on(request)
            if loss.hangs:
                await asyncio.Event().wait()
            if loss.code is None:
                request.transport.close()
                return web.Response()
            return web.json_response(ApiError(loss.code).body(), status=loss.code)

        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            proxy.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
