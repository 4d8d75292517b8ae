"""An OTLP/gRPC receiver on a real socket that keeps what it is sent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived; ids in lowercase hexadecimal, `parent_id` empty for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status_code: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = field(hash=False)


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """Collects spans and the names of metrics, in order of arrival; `async with OtlpReceiver() as receiver`."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[ReceivedSpan] = []
        self.metric_names: set[str] = set()
        self._arrival = asyncio.Condition()

    async def start(self) -> None:
        """Listens on a free port; `endpoint` is then its `http://` address."""
        self._server = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def wait_for(self, predicate: Callable[[list[ReceivedSpan]], bool], timeout_s: float) -> list[ReceivedSpan]:
        """The spans, once `predicate` holds of them; raises TimeoutError after `timeout_s` seconds."""
        async with asyncio.timeout(timeout_s), self._arrival:
            await self._arrival.wait_for(lambda: predicate(self.spans))
        return self.spans

    async def Export(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """Both services name their one method so; the request tells which it is."""
        async with self._arrival:
            if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
                self.metric_names |= _metric_names(request)
                response = metrics_service_pb2.ExportMetricsServiceResponse()
            else:
                self.spans += _spans(request)
                response = trace_service_pb2.ExportTraceServiceResponse()
            self._arrival.notify_all()
        return response


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            service=_attributes(group.resource.attributes).get("service.name", ""),
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=span.kind,
            status_code=span.status.code,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _metric_names(request: metrics_service_pb2.ExportMetricsServiceRequest) -> set[str]:
    return {
        metric.name for group in request.resource_metrics for scope in group.scope_metrics for metric in scope.metrics
    }


def _attributes(pairs: list[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
