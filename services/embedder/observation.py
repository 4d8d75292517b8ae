"""What is told of requests and of the cache: spans and metrics, named as OpenTelemetry's GenAI conventions have it.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#embeddings
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
_lookups = _meter.create_counter(
    "chiasm.embedder.cache.lookups", unit="{lookup}", description="Looks at kept embeddings by what they found."
)


@dataclass
class Work:
    """What a request has asked for so far."""

    items: int = 0
    tokens: int = 0


@contextmanager
def observed(model: str, facts: Facts) -> Iterator[Work]:
    """Around one request's work on `model`, named `models/NAME`. No exception's text enters the span."""
    attributes = {
        names.GEN_AI_OPERATION_NAME: names.EMBEDDINGS,
        names.GEN_AI_PROVIDER_NAME: PROVIDER,
        names.GEN_AI_REQUEST_MODEL: model,
    }
    begun = time.monotonic()
    work = Work()
    with _tracer.start_as_current_span(
        f"{names.EMBEDDINGS} {model}",
        attributes=attributes | {names.GEN_AI_EMBEDDINGS_DIMENSION_COUNT: facts.dimensions},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield work
        except Exception:
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, work.tokens)
            span.set_attribute("chiasm.embedder.items", work.items)
            _duration.record(time.monotonic() - begun, attributes)
            _tokens.record(work.tokens, attributes | {names.GEN_AI_TOKEN_TYPE: "input"})


def looked(*, hit: bool) -> None:
    """At the embeddings that are kept."""
    _lookups.add(1, {"result": "hit" if hit else "miss"})
