"""The command's own span, sent over OTLP where an endpoint is set."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXPORT_TIMEOUT_S = 5


@contextmanager
def command_span(command: str) -> Iterator[None]:
    """Runs the body in the span `chiasm COMMAND`, and sends it before returning, in 5 s at most.

    Does nothing unless `CHIASM_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
    """
    endpoint = os.environ.get("CHIASM_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        print("chiasm: no trace is sent: it needs `pip install chiasm[runtime]`", file=sys.stderr)
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    # An absent collector must not spoil the answer's output.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https"), timeout=EXPORT_TIMEOUT_S)
    provider = TracerProvider(resource=Resource.create({"service.name": "chiasm"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("chiasm.command")
    try:
        with tracer.start_as_current_span(
            f"chiasm {command}", kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)  # its text may quote the prompt
                span.set_status(Status(StatusCode.ERROR))
                raise
    finally:
        provider.shutdown()
