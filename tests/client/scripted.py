"""A gateway that says what a test tells it to, over real sockets; and the messages it says."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_status import rpc_status

from chiasm.v1 import embedding_pb2 as embedding
from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import media_pb2 as media
from chiasm.v1 import models_pb2 as models
from chiasm.v1 import usage_pb2 as usage
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceServicer, add_EmbeddingServiceServicer_to_server
from chiasm.v1.generation_pb2_grpc import GenerationServiceServicer, add_GenerationServiceServicer_to_server
from chiasm.v1.models_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server

Context = grpc.aio.ServicerContext
StreamScript = Callable[[Context], AsyncIterator[generation.StreamGenerateResponse]]
UnaryScript = Callable[[Context], Awaitable[Message]]


class Scripted(GenerationServiceServicer, EmbeddingServiceServicer, ModelServiceServicer):
    """Plays its scripts, and keeps what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.stream: StreamScript = whole_stream
        self.unary: UnaryScript = whole_answer
        self.embed: UnaryScript = two_embeddings
        self.busy = False
        self.pages = [[TINY], [models.Model(name="models/second")]]

    async def StreamGenerate(
        self, request: generation.GenerateRequest, context: Context
    ) -> AsyncIterator[generation.StreamGenerateResponse]:
        self._note(request, context)
        async for response in self.stream(context):
            yield response

    async def Generate(self, request: generation.GenerateRequest, context: Context) -> generation.GenerateResponse:
        self._note(request, context)
        return await self.unary(context)

    async def Embed(self, request: embedding.EmbedRequest, context: Context) -> embedding.EmbedResponse:
        self._note(request, context)
        return await self.embed(context)

    async def ListModels(self, request: models.ListModelsRequest, context: Context) -> models.ListModelsResponse:
        self._note(request, context)
        if self.busy:
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls", "OVERLOADED")
        page = int(request.page_token or 0)
        token = str(page + 1) if page + 1 < len(self.pages) else ""
        return models.ListModelsResponse(models=self.pages[page], next_page_token=token)

    async def GetModel(self, request: models.GetModelRequest, context: Context) -> models.GetModelResponse:
        self._note(request, context)
        if request.name != TINY.name:
            await fail(context, grpc.StatusCode.NOT_FOUND, f"{request.name} is not served here", "MODEL_NOT_FOUND")
        return models.GetModelResponse(model=TINY)

    def _note(self, request: Message, context: Context) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))


@asynccontextmanager
async def serving(*, health: bool | None = None) -> AsyncIterator[Scripted]:
    """A scripted gateway on a free port; with `health`, one whose readiness says so."""
    scripted = Scripted()
    server = grpc.aio.server()
    if health is not None:
        servicer = health_aio.HealthServicer()
        state = HealthCheckResponse.SERVING if health else HealthCheckResponse.NOT_SERVING
        await servicer.set("chiasm.v1.GenerationService", state)
        add_HealthServicer_to_server(servicer, server)
    add_GenerationServiceServicer_to_server(scripted, server)
    add_EmbeddingServiceServicer_to_server(scripted, server)
    add_ModelServiceServicer_to_server(scripted, server)
    scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(None)


TINY = models.Model(
    name="models/tiny",
    revision="abc",
    provider="vllm",
    tasks=[generation.TASK_ANSWER, generation.TASK_READ_TEXT],
    modalities=[models.MODALITY_IMAGE],
    limits=models.ModelLimits(max_context_tokens=512, max_output_tokens=64, min_media=1, max_media=1),
    price=usage.Price(input_nanousd_per_million_tokens=50_000_000, output_nanousd_per_million_tokens=200_000_000),
    ready=True,
)


def started(model: str = "models/tiny", attempt: int = 1) -> generation.StreamGenerateResponse:
    return generation.StreamGenerateResponse(
        started=generation.Started(model=model, attempt=attempt, request_id="request-1")
    )


def delta(text: str) -> generation.StreamGenerateResponse:
    return generation.StreamGenerateResponse(
        delta=generation.Delta(text=text, tokens=[generation.Token(id=7, logprob=-0.5)])
    )


def superseded(next_model: str) -> generation.StreamGenerateResponse:
    return generation.StreamGenerateResponse(
        superseded=generation.Superseded(attempt=1, reason=generation.SUPERSEDED_REASON_BROKEN, next_model=next_model)
    )


def ending(*detections: media.Detection) -> generation.Finished:
    return generation.Finished(
        finish_reason=generation.FINISH_REASON_STOP,
        usage=usage.Usage(input_tokens=260, output_tokens=2, media_input_tokens=256, cost_nanousd=1250),
        confidence=0.5,
        route=generation.Route(
            attempts=[
                generation.Attempt(
                    model="models/tiny",
                    revision="abc",
                    status="OK",
                    time_to_first_token=Duration(nanos=120_000_000),
                    duration=Duration(seconds=1),
                )
            ],
            time_to_first_token=Duration(nanos=125_000_000),
            duration=Duration(seconds=1, nanos=5_000_000),
        ),
        detections=detections,
    )


def finished(*detections: media.Detection) -> generation.StreamGenerateResponse:
    return generation.StreamGenerateResponse(finished=ending(*detections))


def found(
    label: str, x_min: float, y_min: float, x_max: float, y_max: float, *, confidence: float | None = None
) -> media.Detection:
    box = media.BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
    return media.Detection(label=label, box=box, confidence=confidence)


async def whole_stream(context: Context) -> AsyncIterator[generation.StreamGenerateResponse]:
    for event in (started(), delta("two "), delta("circles"), finished()):
        yield event


async def whole_answer(context: Context) -> generation.GenerateResponse:
    return generation.GenerateResponse(
        text="two circles", finished=ending(), model="models/tiny", request_id="request-1"
    )


async def two_embeddings(context: Context) -> embedding.EmbedResponse:
    """One of a single vector, one of two."""
    return embedding.EmbedResponse(
        embeddings=[vectors([1.0, 0.0], 2), vectors([0.0, 1.0, 0.6, 0.8], 2, 2)],
        model="models/tiny",
        revision="abc",
        usage=usage.Usage(input_tokens=20, media_input_tokens=4),
        request_id="request-1",
    )


def vectors(numbers: list[float], *shape: int) -> embedding.Embedding:
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    return embedding.Embedding(tensor=embedding.Tensor(data=data, dtype=embedding.DATA_TYPE_FLOAT32, shape=shape))


async def fail(
    context: Context,
    code: grpc.StatusCode,
    message: str,
    reason: str = "",
    *,
    field: str = "",
    retry_after_s: int = 0,
    correlation_id: str = "",
) -> None:
    """Ends the call as AIP-193 says; without a `reason`, with a bare status."""
    if not reason:
        await context.abort(code, message)
    info = ErrorInfo(reason=reason, domain="chiasm", metadata={"correlation_id": correlation_id})
    details: list[Message] = [info]
    if field:
        details.append(BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=message)]))
    if retry_after_s:
        details.append(RetryInfo(retry_delay=Duration(seconds=retry_after_s)))
    status = Status(code=code.value[0], message=message, details=[_packed(detail) for detail in details])
    await context.abort_with_status(rpc_status.to_status(status))


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
