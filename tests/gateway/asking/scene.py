"""A gateway that asks models which answer as a test says, from what a scripted embedder finds."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc

from chiasm.v1 import generation_pb2, models_pb2, search_pb2, search_pb2_grpc, usage_pb2
from services.runtime.generation import GenerationServer
from services.runtime.paging import list_models
from tests.gateway.embedders.scene import Scene, scene
from tests.gateway.large_model import serving

Answer = Callable[[generation_pb2.GenerateRequest], str]
COST_NANOUSD = 1_000
"""Of each answer, where a test says nothing else."""


class Model(GenerationServer):
    """Says what `answer` makes of a request, as surely as `confidence`."""

    def __init__(self, model: models_pb2.Model, answer: Answer, confidence: Callable[[str], float | None]) -> None:
        self._model = model
        self._answer = answer
        self._confidence = confidence
        self.cost_nanousd = COST_NANOUSD
        self.requests: list[generation_pb2.GenerateRequest] = []
        self.tenants: set[str] = set()
        self.begun, self.ended, self.go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.goes_on: Callable[[generation_pb2.GenerateRequest], bool] = lambda request: False
        """Which requests do not wait for `go_on`."""

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, [self._model])

    async def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        self.requests.append(request)
        self.tenants.add(dict(context.invocation_metadata())["chiasm-tenant"])
        self.begun.set()
        try:
            if not self.goes_on(request):
                await self.go_on.wait()
        finally:
            self.ended.set()
        text = self._answer(request)
        started = generation_pb2.Started(model=self._model.name, attempt=1, request_id=request.request_id)
        yield generation_pb2.StreamGenerateResponse(started=started)
        yield generation_pb2.StreamGenerateResponse(delta=generation_pb2.Delta(text=text))
        finished = generation_pb2.Finished(
            finish_reason=generation_pb2.FINISH_REASON_STOP,
            usage=usage_pb2.Usage(input_tokens=100, output_tokens=10, cost_nanousd=self.cost_nanousd),
            confidence=self._confidence(text),
        )
        yield generation_pb2.StreamGenerateResponse(finished=finished)


@dataclass(frozen=True)
class Library:
    """What a test has."""

    scene: Scene
    models: list[Model] = field(default_factory=list)

    def keep(self, model: str) -> None:
        """Has the embedder's collection be of that model."""
        name = "collections/one"
        self.scene.embedder.collections[name] = search_pb2.Collection(name=name, model=model)

    async def ask(self, query: str = "What colour?", **options: object) -> search_pb2.AskResponse:
        """A query that is also the question, unless `options` have one: the fields of an `AskRequest`."""
        timeout, metadata = options.pop("timeout", 20), options.pop("metadata", ())
        search = search_pb2.SearchRequest(collection="collections/one", text=query, **options.pop("search", {}))
        request = search_pb2.AskRequest(search=search, **options)
        stub = search_pb2_grpc.SearchServiceStub(self.scene.channel)
        return await stub.Ask(request, timeout=timeout, metadata=metadata)


@asynccontextmanager
async def library(
    folder: object,
    hits: list[search_pb2.Hit],
    *models: tuple[models_pb2.Model, Answer],
    confidence: Callable[[str], float | None] = lambda text: 0.8,
    **settings: object,
) -> AsyncIterator[Library]:
    """Before models, each with what it answers."""
    async with AsyncExitStack() as open_:
        servers = [Model(model, answer, confidence) for model, answer in models]
        addresses = tuple([await open_.enter_async_context(serving(server)) for server in servers])
        given = await open_.enter_async_context(scene(folder, targets=addresses, **settings))
        given.embedder.hits = hits
        yield Library(given, servers)


def statements(*said: tuple[str, list[tuple[int, str]]]) -> str:
    """As a model writes them: each text with its sources' numbers and quotes."""
    return json.dumps(
        {
            "statements": [
                {"text": text, "sources": [{"number": number, "quote": quote} for number, quote in sources]}
                for text, sources in said
            ]
        }
    )


def whole_or_alone(whole: str, alone: Callable[[bytes], str]) -> Answer:
    """`whole` to a question about all sources, and `alone` to one about a picture or a text alone: the text is followed
    by the question."""

    def answer(request: generation_pb2.GenerateRequest) -> str:
        if request.config.json_schema:
            return whole
        shown = request.messages[0].parts[0]
        return alone(shown.media.data if shown.HasField("media") else shown.text.encode())

    return answer
