"""What is told of one request: a span and metrics, named as OpenTelemetry's GenAI conventions have it.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#embeddings
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace

from services.embedder.models.model import Facts
from services.runtime import names

PROVIDER = "transformers"

_tracer = trace.get_tracer("chiasm.embedder")
_meter = metrics.get_meter("chiasm.embedder")
_duration = _meter.create_histogram(
    names.GEN_AI_SERVER_REQUEST_DURATION, unit="s", description="From a request's acceptance to its end."
)
_tokens = _meter.create_histogram(
    names.GEN_AI_CLIENT_TOKEN_USAGE, unit="{token}", description="Tokens read by a request."
)


@contextmanager
def observed(model: str, facts: Facts, *, items: int, tokens: int) -> Iterator[None]:
    """Around one request's work on `model`, named `models/NAME`. No exception's text enters the span."""
    attributes = {
        names.GEN_AI_OPERATION_NAME: names.EMBEDDINGS,
        names.GEN_AI_PROVIDER_NAME: PROVIDER,
        names.GEN_AI_REQUEST_MODEL: model,
    }
    own = {
        names.GEN_AI_EMBEDDINGS_DIMENSION_COUNT: facts.dimensions,
        names.GEN_AI_USAGE_INPUT_TOKENS: tokens,
        "chiasm.embedder.items": items,
    }
    begun = time.monotonic()
    with _tracer.start_as_current_span(
        f"{names.EMBEDDINGS} {model}",
        attributes=attributes | own,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except Exception:
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            _duration.record(time.monotonic() - begun, attributes)
            _tokens.record(tokens, attributes | {names.GEN_AI_TOKEN_TYPE: "input"})
