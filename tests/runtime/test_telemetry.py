import json
import signal
import time

import grpc
import pytest

from chiasm.v1 import generation_pb2_grpc
from services.runtime.telemetry import traced_metadata
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.runtime.echo import ask
from tests.runtime.test_boundary import details
from tests.runtime.test_server import ready

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
CONTEXT = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"), ("tracestate", "vendor=1"))
GENERATE, STREAM = "chiasm.v1.GenerationService/Generate", "chiasm.v1.GenerationService/StreamGenerate"
SERVER_KIND, ERROR_STATUS = 2, 2


def only(spans: list[ReceivedSpan], **wanted: str) -> ReceivedSpan:
    (span,) = [span for span in spans if all(getattr(span, key) == value for key, value in wanted.items())]
    return span


async def test_a_trace_goes_through_two_services(spawning):
    async with (
        OtlpReceiver() as receiver,
        spawning("back", otlp_endpoint=receiver.endpoint) as back,
        spawning("front", otlp_endpoint=receiver.endpoint, upstream=back.address) as front,
        grpc.aio.insecure_channel(front.address) as channel,
    ):
        await ready(channel)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.Generate(ask("forward"), metadata=CONTEXT, timeout=10)
        spans = await receiver.wait_for(lambda spans: len(spans) >= 2, 30)
    outer = only(spans, parent_id=PARENT_ID)
    inner = only(spans, parent_id=outer.span_id)
    for span in (outer, inner):
        assert (span.service, span.name, span.trace_id) == ("chiasm-echo", GENERATE, TRACE_ID)
        assert (span.kind, span.status_code) == (SERVER_KIND, 0)
        wanted = {"rpc.system.name": "grpc", "rpc.method": GENERATE, "rpc.response.status_code": "OK"}
        assert span.attributes == wanted
    assert len(spans) == 2  # the health watch has none


async def test_streams_cancellations_and_faults_are_traced_and_metrics_sent(spawning):
    async with (
        OtlpReceiver() as receiver,
        spawning(otlp_endpoint=receiver.endpoint) as spawned,
        grpc.aio.insecure_channel(spawned.address) as channel,
    ):
        await ready(channel)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        assert [event.delta.text async for event in stub.StreamGenerate(ask("hi"))] == ["begun", "hi"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Generate(ask("unknown"), metadata=CONTEXT)
        call = stub.StreamGenerate(ask("wait"))
        await call.read()
        call.cancel()
        await spawned.happened("closed", 2)
        spawned.process.send_signal(signal.SIGTERM)
        assert await spawned.exit_code() == 0
        spans = await receiver.wait_for(lambda spans: len(spans) >= 3, 30)
    fault = only(spans, name=GENERATE)
    assert (fault.status_code, fault.attributes["error.type"]) == (ERROR_STATUS, "INTERNAL")
    codes = sorted(span.attributes["rpc.response.status_code"] for span in spans if span.name == STREAM)
    assert codes == ["CANCELLED", "OK"]
    assert "hunter2" not in repr(spans)
    assert "rpc.server.call.duration" in receiver.metric_names

    lines = [json.loads(line) for line in spawned.log.read_text().splitlines()]
    correlation_id = details(caught.value)["ErrorInfo"].metadata["correlation_id"]
    (line,) = [line for line in lines if line.get("correlation_id") == correlation_id]
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, fault.span_id)
    assert (line["severity"], line["service"]) == ("ERROR", "chiasm-echo")
    assert line["timestamp"].endswith("+00:00")
    assert "RuntimeError" in line["exc_info"]
    assert [line for line in lines if "context" in line["message"].lower()] == []  # nothing detached elsewhere


async def test_a_receiver_that_is_gone_hinders_nothing(spawning):
    async with (
        spawning(otlp_endpoint="http://127.0.0.1:1") as spawned,
        grpc.aio.insecure_channel(spawned.address) as channel,
    ):
        await ready(channel)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        assert (await stub.Generate(ask("hello"), timeout=5)).text == "hello"
        spawned.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert await spawned.exit_code() == 0
        assert time.monotonic() - begun < 20


def test_without_a_trace_nothing_is_added():
    assert traced_metadata() == ()
