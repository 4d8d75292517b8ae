"""What is told of the index's work: a span and a duration an operation, and of what maintenance could not do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace

from services.runtime import names

_tracer = trace.get_tracer("chiasm.embedder")
_meter = metrics.get_meter("chiasm.embedder")
_duration = _meter.create_histogram(
    "chiasm.embedder.index.duration", unit="s", description="What an operation of the index, or a stage of it, took."
)
_failures = _meter.create_counter(
    "chiasm.embedder.index.maintenance.failures", description="Times that maintenance failed and is tried again."
)


@contextmanager
def observed(operation: str, **attributes: str | int | bool) -> Iterator[None]:
    """Around `search`, `search.first`, `search.rerank`, `search.words`, `put`, `remove` or `maintain`; the attributes
    are the span's alone. No exception's text enters the span."""
    own = {f"chiasm.embedder.index.{name}": value for name, value in attributes.items()}
    told = {"chiasm.embedder.index.operation": operation}
    begun = time.monotonic()
    with _tracer.start_as_current_span(
        f"index {operation}", attributes=own, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR)
            told[names.ERROR_TYPE] = type(error).__name__
            raise
        finally:
            _duration.record(time.monotonic() - begun, told)


def maintenance_failed() -> None:
    _failures.add(1)
