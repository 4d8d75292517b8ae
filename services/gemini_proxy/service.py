"""gemini_proxy's RPCs: protos in, protos out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import grpc

from chiasm.v1 import batch_pb2_grpc, embedding_pb2_grpc, errors_pb2, generation_pb2, models_pb2, usage_pb2_grpc
from services.gemini_proxy import convert, media_facts
from services.gemini_proxy.accounts.ledger import Ledger
from services.gemini_proxy.accounts.redis_books import connect
from services.gemini_proxy.answering import Answerer, Piece
from services.gemini_proxy.attempting import Attempting
from services.gemini_proxy.attempts import Attempts
from services.gemini_proxy.batch_service import BatchServer
from services.gemini_proxy.batch_store import BatchStore
from services.gemini_proxy.batches import Batches
from services.gemini_proxy.bookkeeping import Bookkeeping
from services.gemini_proxy.catalogue import Model, find_model
from services.gemini_proxy.config import NO_KEY, GeminiSettings
from services.gemini_proxy.context_caches import ContextCaches
from services.gemini_proxy.embedding import Embedder
from services.gemini_proxy.embedding_service import EmbeddingServer
from services.gemini_proxy.files import Files
from services.gemini_proxy.notes import Notes, SharedNotes
from services.gemini_proxy.placement import Placer
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.price_file import load_prices
from services.gemini_proxy.prices import Prices, PriceUnknown
from services.gemini_proxy.usage_service import UsageServer
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.config import BadSetting
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import FailedPrecondition, NotFound
from services.runtime.generation import GenerationServer
from services.runtime.load_report import Load
from services.runtime.paging import list_models
from services.runtime.requests import check_generate, name_request
from services.runtime.streams import collect, each_within
from services.runtime.tenant import tenant_of

_BATCH_STORE_TIMEOUT_S = 5.0
"""Seconds that Redis may take over a batch: longer than over a call, because its answers are many bytes."""
DRAIN_ATTEMPTS_S = 20.0
"""Seconds that attempts whose callers left may go on after the last call has ended."""


class GeminiService(GenerationServer):
    """Gemini behind GenerationService, BatchService, EmbeddingService, ModelService and UsageService."""

    names = (
        *GenerationServer.names,
        "chiasm.v1.BatchService",
        "chiasm.v1.EmbeddingService",
        "chiasm.v1.UsageService",
    )

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = settings
        self._prices = _prices(settings)
        self._pool = Pool(settings)
        self._bookkeeping = Bookkeeping(settings)
        books = self._bookkeeping.books
        self._room = WaitingRoom(books, max_waiting=settings.max_waiting)
        self._attempts = Attempts(books, self._prices, lease_s=settings.lease_s)
        self._notes = _notes(settings)
        placer = Placer(
            Files(settings, self._pool, self._notes), ContextCaches(settings, books, self._prices, self._notes)
        )
        attempting = Attempting(settings, self._pool, books, self._prices, self._attempts, self._room)
        self._answerer = Answerer(settings, attempting, placer)
        embedder = Embedder(settings, attempting)
        self._embeddings = EmbeddingServer(settings, embedder, self._pool, self._prices, self._attempts, self._room)
        self._batches: Batches | None = None
        if settings.redis_url is not None:
            store = BatchStore(connect(settings.redis_url.get_secret_value(), timeout_s=_BATCH_STORE_TIMEOUT_S))
            self._batches = Batches(settings, self._pool, books, self._prices, self._room, store)
        self._batch_server = BatchServer(settings, self._pool, self._batches, self._model)
        logged = [member.name for member in settings.pool if member.vertex]
        self._usage = UsageServer(self._bookkeeping.ledger, books, self._prices, logged=logged)

    @property
    def ledger(self) -> Ledger | None:
        """None where there is no Redis to keep it."""
        return self._bookkeeping.ledger

    def register(self, server: grpc.aio.Server) -> None:
        super().register(server)
        batch_pb2_grpc.add_BatchServiceServicer_to_server(self._batch_server, server)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(self._embeddings, server)
        usage_pb2_grpc.add_UsageServiceServicer_to_server(self._usage, server)

    async def start(self) -> None:
        await self._pool.start()
        if not self._pool.names:
            self.readiness.withhold(NO_KEY)

    async def run(self) -> None:
        """Raises when the books, or those who wait for them, cannot be tended any more."""
        async with self._room.open(), asyncio.TaskGroup() as group:
            group.create_task(self._bookkeeping.run(), name="tend the books")
            group.create_task(self._attempts.run(), name="renew leases")
            if self._batches is not None:
                group.create_task(self._batches.run(), name="look after batches")

    async def stop(self) -> None:
        await self._attempts.drain(DRAIN_ATTEMPTS_S)
        await self._pool.close()
        if self._batches is not None:
            await self._batches.close()
        await self._notes.close()
        await media_facts.close()
        await self._bookkeeping.close()

    def load(self) -> Load:
        running, waiting = len(self._attempts), self._room.waiting
        # The call that tells of it is over, and is as much of the load as the next one.
        return Load((running + waiting + 1) / self._settings.max_concurrent_calls, running, waiting)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        models = [self._describe(name) for name in self._settings.models]
        return list_models(request, [*models, *self._embeddings.models()])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        embedding = next((model for model in self._embeddings.models() if model.name == request.name), None)
        model = embedding or self._describe(self._model(request.name, "name").name)
        return models_pb2.GetModelResponse(model=model)

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        response = await collect(self._answer(request, context, whole=True))
        self.tell_load(context)
        return response

    def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        return self._answer(request, context, whole=False)

    async def _answer(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext, *, whole: bool
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        arrived = time.monotonic()
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        tenant = tenant_of(context)
        check_generate(request)
        model = self._model(request.model, "model")
        if not self._pool.names:
            raise FailedPrecondition(NO_KEY, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        request_id = name_request(request)
        async with within(seconds):
            question = await convert.question_from_proto(request, model=model, tenant=tenant, settings=self._settings)
        left_s = arrived + seconds - time.monotonic()
        started = generation_pb2.Started(model=f"models/{model.name}", attempt=1, request_id=request_id)
        begun, first_token_s = False, None
        answer = self._answerer.answer(question, timeout_s=left_s, whole=whole)
        async with aclosing(each_within(left_s, answer)) as pieces:
            async for piece in pieces:
                elapsed_s = time.monotonic() - arrived
                if not begun:
                    # Held back until something has come: a refusal is an error and no answer begun.
                    yield generation_pb2.StreamGenerateResponse(started=started)
                    begun = True
                if first_token_s is None and isinstance(piece, Piece):
                    first_token_s = elapsed_s
                yield convert.event_to_proto(piece, arrived_s=elapsed_s, first_token_s=first_token_s)

    def _model(self, name: str, field: str) -> Model:
        bare = name.removeprefix("models/")
        bare = self._settings.aliases.get(bare, bare) or self._settings.models[0]
        if bare not in self._settings.models:
            served = ", ".join(f"models/{model}" for model in self._settings.models)
            raise NotFound(f"{name!r} is not served here; {served} are", field=field)
        return find_model(bare)

    def _describe(self, name: str) -> models_pb2.Model:
        return convert.model_to_proto(
            find_model(name),
            self._prices.price_of(name, datetime.now(UTC)),
            self._settings,
            running=len(self._attempts),
            waiting=self._room.waiting,
            ready=bool(self._pool.names),
        )


def _notes(settings: GeminiSettings) -> Notes:
    if settings.redis_url is None:
        return Notes()
    return SharedNotes(settings.redis_url.get_secret_value(), timeout_s=settings.books_timeout_s)


def _prices(settings: GeminiSettings) -> Prices:
    """Raises BadSetting where the file of prices is bad, or a model that is served has no price."""
    try:
        prices = Prices(load_prices(settings.prices_file) if settings.prices_file else ())
    except (OSError, ValueError) as error:
        raise BadSetting("prices_file", str(error)) from error
    for setting in ("models", "embedding_models"):
        for name in getattr(settings, setting):
            try:
                prices.price_of(name, datetime.now(UTC))
            except PriceUnknown as error:
                raise BadSetting(setting, error.message) from error
    return prices
