"""OpenTelemetry: traces and metrics over OTLP, W3C context from hop to hop, a span a call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import grpc
from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from services.runtime import names
from services.runtime.config import ServiceSettings
from services.runtime.interception import AroundInterceptor, is_standard

EXPORT_TIMEOUT_S = 5
SPAN_DELAY_S = 1
METRIC_INTERVAL_S = 15

# https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
_DURATION_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

# What counts as the server's fault: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_SERVER_FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}

_tracer = trace.get_tracer("chiasm")
_duration = metrics.get_meter("chiasm").create_histogram(
    names.RPC_SERVER_CALL_DURATION,
    unit="s",
    description="Time from a call's arrival to its end.",
    explicit_bucket_boundaries_advisory=_DURATION_BUCKETS_S,
)


def configure(service: str, settings: ServiceSettings) -> None:
    """Exports traces and metrics to `settings.otlp_endpoint`; does nothing when that is None.

    Exports run in threads of their own, from bounded queues, and drop what cannot be sent.
    """
    if settings.otlp_endpoint is None:
        return
    resource = Resource.create({SERVICE_NAME: f"chiasm-{service}", SERVICE_VERSION: version("chiasm")})
    target = {
        "endpoint": settings.otlp_endpoint,
        "insecure": settings.otlp_endpoint.startswith("http://"),
        "timeout": EXPORT_TIMEOUT_S,
    }
    tracers = TracerProvider(sampler=ParentBased(ALWAYS_ON), resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**target), schedule_delay_millis=SPAN_DELAY_S * 1e3))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(**target),
        export_interval_millis=METRIC_INTERVAL_S * 1e3,
        export_timeout_millis=EXPORT_TIMEOUT_S * 1e3,
    )
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([reader], resource=resource, shutdown_on_exit=False))


def shutdown() -> None:
    """Sends what is left, for at most a few times `EXPORT_TIMEOUT_S`. Blocks: call it after the event loop."""
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    if isinstance(tracers, TracerProvider):
        tracers.shutdown()
    if isinstance(meters, MeterProvider):
        meters.shutdown(timeout_millis=EXPORT_TIMEOUT_S * 1e3)


def traced_metadata() -> tuple[tuple[str, str], ...]:
    """The current trace context (`traceparent`, `tracestate`, `baggage`) as metadata for an outgoing call."""
    context: dict[str, str] = {}
    propagate.inject(context)
    return tuple(context.items())


class TracingInterceptor(AroundInterceptor):
    """A SERVER span and a duration for every call but those of health and reflection.

    The outermost interceptor: it sees the code that the boundary chose. No exception's text enters the span.
    """

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        if is_standard(method):
            yield
            return
        begun = time.monotonic()
        caller = propagate.extract(dict(context.invocation_metadata() or ()))
        attributes = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: method}
        code = grpc.StatusCode.OK
        with _tracer.start_as_current_span(
            method,
            caller,
            trace.SpanKind.SERVER,
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except grpc.aio.AbortError:
                code = context.code()
                raise
            except asyncio.CancelledError:
                code = _cancellation_code(context)
                raise
            finally:
                attributes |= _outcome(code)
                span.set_attributes(_outcome(code))
                if code in _SERVER_FAULTS:
                    span.set_status(trace.StatusCode.ERROR)
                _duration.record(time.monotonic() - begun, attributes)


def _cancellation_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode:
    left_s = context.time_remaining()
    return grpc.StatusCode.CANCELLED if left_s is None or left_s > 0 else grpc.StatusCode.DEADLINE_EXCEEDED


def _outcome(code: grpc.StatusCode) -> dict[str, str]:
    outcome = {names.RPC_RESPONSE_STATUS_CODE: code.name}
    return outcome | {names.ERROR_TYPE: code.name} if code in _SERVER_FAULTS else outcome
