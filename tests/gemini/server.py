"""The emulator as a server: routes, keys, and what a test may ask of it.

Beside Gemini's own paths (version v1, v1beta or v1beta1; Vertex's with or without `projects/.../locations/...`):

- `GET /_bill`: its lines and their total.
- `GET /_log`: Vertex's request-response log of all billed calls, JSON lines.
- `GET /_quotas`: the peaks of what was used, and what was refused.
- `GET /_idle`: answers when nothing is being generated.
- `POST /_faults`: a JSON list of `config.FaultRule` that replaces the rules.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import TextIOBase
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from tests.gemini.batches import Batches
from tests.gemini.bill import Bill
from tests.gemini.caches import Caches
from tests.gemini.calls import Caller, Calls
from tests.gemini.config import Config, FaultRule
from tests.gemini.embeddings import Embeddings
from tests.gemini.faults import Faults
from tests.gemini.files import Files
from tests.gemini.generation import Generation
from tests.gemini.quotas import Clock, Quotas, monotonic_wall_clock
from tests.gemini.tokens import Counting
from tests.gemini.wire import ApiError, json_answer, key_of, page_of

MAX_BODY_BYTES = 160 * 2**20

_RULES = TypeAdapter(tuple[FaultRule, ...])
_ROOT = r"/{version:v1(?:beta1?)?}/{scope:(?:projects/[^/]+/locations/[^/]+/)?}"
_MODELS = _ROOT + r"{publisher:(?:publishers/google/)?}models"

Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
"""Of a request and the project whose key it carries."""


class Emulator:
    """A running server; `emulator` makes one."""

    def __init__(self, config: Config, clock: Clock, bill_file: TextIOBase | None) -> None:
        self.base_url = ""
        self.bill = Bill(bill_file)
        self.quotas = Quotas(config, clock)
        self.faults = Faults(config.faults, config.seed)
        self._config = config
        self._keys = {key: name for name, project in config.projects.items() for key in project.api_keys}
        self._files = Files(config, self.faults, clock)
        self._counting = Counting(self._files.read)
        self._caches = Caches(config, self._counting, self.bill, self.faults, clock)
        self._calls = Calls(config, self._counting, self._caches, self.bill, self.faults, clock)
        self._generation = Generation(self._calls, self._counting, self.quotas, self.faults)
        self._batches = Batches(config, self._calls, self.faults, clock)
        embeddings = Embeddings(self._calls, self._counting, self.quotas, self.bill, self.faults, clock)
        self._methods = {
            "generateContent": self._generation.generate,
            "streamGenerateContent": self._generation.stream,
            "countTokens": self._generation.count_tokens,
            "batchEmbedContents": embeddings.embed_batch,
            "embedContent": embeddings.embed_one,
            "batchGenerateContent": self._batches.create,
        }

    async def idle(self) -> None:
        """Returns when nothing is being generated: then the bill is whole."""
        await self._generation.idle()

    async def start(self) -> None:
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Refuses connections, and breaks off what is being generated; the bill can still be read."""
        for site in list(self._runner.sites):
            await site.stop()
        await self._generation.stop()
        await self._runner.cleanup()
        self._counting.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        files, caches, batches = self._files, self._caches, self._batches
        app.add_routes(
            [
                web.post(_MODELS + "/{model}:{method}", self._guarded(self._model_call)),
                web.get(_MODELS, self._guarded(self._list_models)),
                web.get(_MODELS + "/{model}", self._guarded(self._get_model)),
                web.post("/upload/{version:v1(?:beta)?}/files", self._upload),
                web.get(_ROOT + "files", self._guarded(files.list)),
                web.get(_ROOT + "files/{name}", self._guarded(files.get)),
                web.delete(_ROOT + "files/{name}", self._guarded(files.delete)),
                web.post(_ROOT + "cachedContents", self._guarded(caches.create)),
                web.get(_ROOT + "cachedContents", self._guarded(caches.list)),
                web.get(_ROOT + "cachedContents/{name}", self._guarded(caches.get)),
                web.patch(_ROOT + "cachedContents/{name}", self._guarded(caches.update)),
                web.delete(_ROOT + "cachedContents/{name}", self._guarded(caches.delete)),
                web.get(_ROOT + "batches", self._guarded(batches.list)),
                web.get(_ROOT + "batches/{name}", self._guarded(batches.get)),
                web.post(_ROOT + "batches/{name}:cancel", self._guarded(batches.cancel)),
                web.delete(_ROOT + "batches/{name}", self._guarded(batches.delete)),
                web.get("/_bill", self._show_bill),
                web.get("/_log", self._show_log),
                web.get("/_quotas", self._show_quotas),
                web.get("/_idle", self._show_idle),
                web.post("/_faults", self._set_faults),
            ]
        )
        return app

    def _guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler behind the key, its errors as the API's bodies."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request, self._project(request))
            except ApiError as error:
                return json_answer(error.body(key_of(request)), error.code)

        return guarded

    def _project(self, request: web.Request) -> str:
        key = key_of(request)
        if not key:
            raise ApiError(403, "Method doesn't allow unregistered callers. Please use API Key.")
        if key not in self._keys:
            reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            raise ApiError(400, "API key not valid. Please pass a valid API key.", [reason])
        return self._keys[key]

    async def _model_call(self, request: web.Request, project: str) -> web.StreamResponse:
        info = request.match_info
        method = self._methods.get(info["method"])
        if method is None:
            raise ApiError(404)
        return await method(request, Caller(project, vertex=bool(info["publisher"])), info["model"])

    async def _list_models(self, request: web.Request, _: str) -> web.StreamResponse:
        vertex = bool(request.match_info["publisher"])
        models = [self._model_json(name, vertex) for name in self._config.models]
        return json_answer(page_of(models, "publisherModels" if vertex else "models", request))

    async def _get_model(self, request: web.Request, _: str) -> web.StreamResponse:
        name = request.match_info["model"]
        if name not in self._config.models:
            raise ApiError(404, f"Model models/{name} is not found.")
        return json_answer(self._model_json(name, bool(request.match_info["publisher"])))

    def _model_json(self, name: str, vertex: bool) -> dict[str, Any]:
        if vertex:
            return {"name": f"publishers/google/models/{name}", "versionId": "default"}
        model = self._config.models[name]
        generates = ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
        return {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "inputTokenLimit": model.input_token_limit,
            "outputTokenLimit": model.output_token_limit,
            "supportedGenerationMethods": ["embedContent"] if model.embedding_size else generates,
        }

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if "upload_id" in request.query:
            try:
                return await self._files.receive(request)
            except ApiError as error:
                return json_answer(error.body(), error.code)
        return await self._guarded(self._files.start)(request)

    async def _show_bill(self, _: web.Request) -> web.Response:
        return json_answer(self.bill.as_json())

    async def _show_log(self, _: web.Request) -> web.Response:
        return web.Response(text=self.bill.log(), content_type="application/x-ndjson")

    async def _show_quotas(self, _: web.Request) -> web.Response:
        return json_answer(self.quotas.as_json())

    async def _show_idle(self, _: web.Request) -> web.Response:
        await self.idle()
        return json_answer({})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.rules = _RULES.validate_json(await request.read())
        except ValidationError as error:
            return json_answer({"error": str(error)}, 400)
        return json_answer({})


@asynccontextmanager
async def emulator(
    config: Config, *, clock: Clock | None = None, bill_file: TextIOBase | None = None
) -> AsyncIterator[Emulator]:
    """An emulator on a free port of 127.0.0.1. `clock`: seconds since 1970, for tests of windows and lifetimes."""
    running = Emulator(config, clock or monotonic_wall_clock(), bill_file)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
