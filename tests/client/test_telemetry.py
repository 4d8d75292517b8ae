"""The command's span, at a real OTLP receiver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .conftest import run_command
from .scripted import Context, Scripted, fail, started


class Receiver(TraceServiceServicer):
    """Keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def Export(self, request: ExportTraceServiceRequest, context: Context) -> ExportTraceServiceResponse:
        self.spans += [span for batch in request.resource_spans for scope in batch.scope_spans for span in scope.spans]
        return ExportTraceServiceResponse()


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver and its endpoint."""
    receiver, server = Receiver(), grpc.aio.server()
    add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize("variable", ["CHIASM_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
async def test_the_span_arrives_and_is_the_calls_parent(server: Scripted, picture: Path, variable: str) -> None:
    async with receiving() as (receiver, endpoint):
        ended = await run_command("caption", str(picture), "--address", server.address, **{variable: endpoint})
    assert ended.code == 0
    (span,) = receiver.spans
    assert span.name == "chiasm caption"
    _, trace_id, parent_id, _ = str(server.metadata[0]["traceparent"]).split("-")
    assert (trace_id, parent_id) == (span.trace_id.hex(), span.span_id.hex())


async def test_a_failed_command_marks_its_span_without_the_text(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        await fail(context, grpc.StatusCode.INVALID_ARGUMENT, "a private prompt", "FIELD_INVALID")
        yield started()

    server.stream = script
    async with receiving() as (receiver, endpoint):
        await run_command("caption", str(picture), "--address", server.address, CHIASM_OTLP_ENDPOINT=endpoint)
    (span,) = receiver.spans
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert "private" not in str(span)


async def test_an_absent_receiver_spoils_nothing(server: Scripted, picture: Path) -> None:
    async with asyncio.timeout(25):
        ended = await run_command(
            "caption", str(picture), "--address", server.address, CHIASM_OTLP_ENDPOINT="http://127.0.0.1:1"
        )
    assert (ended.code, ended.out) == (0, "two circles\n")
    assert len(ended.err.splitlines()) == 1
