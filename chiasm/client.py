"""The clients of a gateway or of a single model server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import grpc
import grpc.aio

from chiasm import convert
from chiasm.channel import Tls, channel_options, default_address, default_api_key, target
from chiasm.embedding_calls import AsyncEmbeddingCalls, EmbeddingCalls
from chiasm.errors import rpc_errors
from chiasm.images import image_source
from chiasm.options import Options, Task
from chiasm.results import Answer, Event, ModelInfo
from chiasm.route_calls import AsyncRouteCalls, RouteCalls
from chiasm.search_calls import AsyncSearchCalls, SearchCalls
from chiasm.transcript import Transcript
from chiasm.uploads import AsyncUploadCalls, UploadCalls
from chiasm.usage_calls import AsyncUsageCalls, UsageCalls
from chiasm.v1.classification_pb2_grpc import ClassificationServiceStub
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceStub
from chiasm.v1.generation_pb2_grpc import GenerationServiceStub
from chiasm.v1.media_service_pb2_grpc import MediaServiceStub
from chiasm.v1.models_pb2_grpc import ModelServiceStub
from chiasm.v1.route_pb2_grpc import RouteServiceStub
from chiasm.v1.search_pb2_grpc import SearchServiceStub
from chiasm.v1.usage_pb2_grpc import UsageServiceStub
from chiasm.verbs import Verbs

if TYPE_CHECKING:
    from chiasm.images import ImageLike

DEFAULT_TIMEOUT_S = 60.0


class AnswerStream(Iterator[Event]):
    """A streamed answer: its events as they come, and `answer` at the end. Leaving `with` cancels it."""

    def __init__(self, start: Callable[[], grpc.Call]) -> None:
        """`start` begins the call; used by `Client.stream`."""
        self._transcript = Transcript()
        self._call = start()

    def __next__(self) -> Event:
        """The next event. Raises a ChiasmError when the call fails or ends before the answer is complete."""
        while True:
            with rpc_errors():
                message = next(self._call, None)
            if message is None:
                _ = self.answer
                raise StopIteration
            if event := convert.event(message):
                self._transcript.add(event)
                return event

    @property
    def answer(self) -> Answer:
        """The whole answer, once the events are through. Raises Internal before."""
        return self._transcript.answer

    def close(self) -> None:
        """Cancels the call, if it still runs."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncAnswerStream(AsyncIterator[Event]):
    """A streamed answer: its events as they come, and `answer` at the end. Leaving `async with` cancels it."""

    def __init__(self, start: Callable[[], Awaitable[grpc.aio.UnaryStreamCall]]) -> None:
        """`start` begins the call at the first event; used by `AsyncClient.stream`."""
        self._transcript = Transcript()
        self._start = start
        self._call: grpc.aio.UnaryStreamCall | None = None

    async def __anext__(self) -> Event:
        """The next event. Raises a ChiasmError when the call fails or ends before the answer is complete."""
        if self._call is None:
            self._call = await self._start()
        while True:
            with rpc_errors():
                message = await self._call.read()
            if message is grpc.aio.EOF:
                _ = self.answer
                raise StopAsyncIteration
            if event := convert.event(message):
                self._transcript.add(event)
                return event

    @property
    def answer(self) -> Answer:
        """The whole answer, once the events are through. Raises Internal before."""
        return self._transcript.answer

    def close(self) -> None:
        """Cancels the call, if it still runs."""
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client(Verbs[Answer], EmbeddingCalls, RouteCalls, SearchCalls, UploadCalls, UsageCalls):
    """A client for threads. It may be shared among them; close it, or use it in a `with` block."""

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Connects at the first call.

        Args:
            address: `host:port`; `CHIASM_ADDRESS` or 127.0.0.1:8700 when None.
            tls: Files for a server that speaks TLS; what `Tls.from_environment` finds, or plain text, when None.
            api_key: Proves to the gateway who calls; `CHIASM_API_KEY` when None. Send it over TLS.
            timeout_s: Seconds for a whole call that names no `timeout_s` of its own, above 0.
        """
        self.address = address or default_address()
        self._timeout_s = timeout_s
        self._api_key = api_key or default_api_key()
        options = channel_options(self.address)
        if tls := tls or Tls.from_environment():
            self._channel = grpc.secure_channel(target(self.address), tls.credentials(), options)
        else:
            self._channel = grpc.insecure_channel(target(self.address), options)
        self._generation = GenerationServiceStub(self._channel)
        self._classification = ClassificationServiceStub(self._channel)
        self._embedding = EmbeddingServiceStub(self._channel)
        self._media = MediaServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._routes = RouteServiceStub(self._channel)
        self._search = SearchServiceStub(self._channel)
        self._usage = UsageServiceStub(self._channel)

    def generate(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> Answer:
        """Answers at once. Tried again, at most three times, while no server is available."""
        begun = time.monotonic()
        timeout_s = options.pop("timeout_s", None)
        request = convert.generate_request(prompt, [image_source(image) for image in images], task, **options)
        with rpc_errors():
            response = self._generation.Generate(request, **self._options(timeout_s))
        return convert.answer(response, time.monotonic() - begun)

    def stream(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> AnswerStream:
        """Answers as it comes. Never tried again: what was said may have been shown."""
        timeout_s = options.pop("timeout_s", None)
        request = convert.generate_request(prompt, [image_source(image) for image in images], task, **options)
        return AnswerStream(
            lambda: self._generation.StreamGenerate(request, **self._options(timeout_s)),
        )

    def models(self) -> list[ModelInfo]:
        """The models served, by name. Raises a ChiasmError when the call fails."""
        deadline = time.monotonic() + self._timeout_s
        models, token, more = [], "", True
        with rpc_errors():
            while more:
                request = convert.list_models_request(token)
                page = self._models.ListModels(request, timeout=deadline - time.monotonic(), metadata=self._metadata())
                models += [convert.model_info(model) for model in page.models]
                token = page.next_page_token
                more = bool(token)
        return models

    def model(self, name: str) -> ModelInfo:
        """One model, named `NAME` or `models/NAME`. Raises NotFound when it is not served."""
        with rpc_errors():
            response = self._models.GetModel(convert.get_model_request(name), **self._options(None))
        return convert.model_info(response.model)

    def close(self) -> None:
        """Cancels what runs and closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(
    Verbs[Awaitable[Answer]],
    AsyncEmbeddingCalls,
    AsyncRouteCalls,
    AsyncSearchCalls,
    AsyncUploadCalls,
    AsyncUsageCalls,
):
    """A client for asyncio. Make it where the event loop runs; close it, or use it in an `async with` block."""

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Connects at the first call.

        Args:
            address: `host:port`; `CHIASM_ADDRESS` or 127.0.0.1:8700 when None.
            tls: Files for a server that speaks TLS; what `Tls.from_environment` finds, or plain text, when None.
            api_key: Proves to the gateway who calls; `CHIASM_API_KEY` when None. Send it over TLS.
            timeout_s: Seconds for a whole call that names no `timeout_s` of its own, above 0.
        """
        self.address = address or default_address()
        self._timeout_s = timeout_s
        self._api_key = api_key or default_api_key()
        options = channel_options(self.address)
        if tls := tls or Tls.from_environment():
            self._channel = grpc.aio.secure_channel(target(self.address), tls.credentials(), options)
        else:
            self._channel = grpc.aio.insecure_channel(target(self.address), options)
        self._generation = GenerationServiceStub(self._channel)
        self._classification = ClassificationServiceStub(self._channel)
        self._embedding = EmbeddingServiceStub(self._channel)
        self._media = MediaServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._routes = RouteServiceStub(self._channel)
        self._search = SearchServiceStub(self._channel)
        self._usage = UsageServiceStub(self._channel)

    async def generate(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> Answer:
        """Answers at once. Tried again, at most three times, while no server is available."""
        begun = time.monotonic()
        timeout_s = options.pop("timeout_s", None)
        request = convert.generate_request(prompt, await _read(images), task, **options)
        with rpc_errors():
            response = await self._generation.Generate(request, **self._options(timeout_s))
        return convert.answer(response, time.monotonic() - begun)

    def stream(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> AsyncAnswerStream:
        """Answers as it comes. Never tried again: what was said may have been shown."""
        timeout_s = options.pop("timeout_s", None)

        async def start() -> grpc.aio.UnaryStreamCall:
            request = convert.generate_request(prompt, await _read(images), task, **options)
            return self._generation.StreamGenerate(request, **self._options(timeout_s))

        return AsyncAnswerStream(start)

    async def models(self) -> list[ModelInfo]:
        """The models served, by name. Raises a ChiasmError when the call fails."""
        deadline = time.monotonic() + self._timeout_s
        models, token, more = [], "", True
        with rpc_errors():
            while more:
                request = convert.list_models_request(token)
                page = await self._models.ListModels(
                    request, timeout=deadline - time.monotonic(), metadata=self._metadata()
                )
                models += [convert.model_info(model) for model in page.models]
                token = page.next_page_token
                more = bool(token)
        return models

    async def model(self, name: str) -> ModelInfo:
        """One model, named `NAME` or `models/NAME`. Raises NotFound when it is not served."""
        with rpc_errors():
            response = await self._models.GetModel(convert.get_model_request(name), **self._options(None))
        return convert.model_info(response.model)

    async def close(self) -> None:
        """Cancels what runs and closes the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _read(images: "Sequence[ImageLike]") -> list[bytes | str]:
    return [await asyncio.to_thread(image_source, image) for image in images]
