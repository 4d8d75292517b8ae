"""What is told of one request to the engine: a span and metrics, named as OpenTelemetry's GenAI conventions have it."""

import time
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from services.runtime import names

if TYPE_CHECKING:
    from vllm.v1.metrics.stats import RequestStateStats

_tracer = trace.get_tracer("chiasm.paligemma")
_meter = metrics.get_meter("chiasm.paligemma")
_duration = _meter.create_histogram(
    names.GEN_AI_SERVER_REQUEST_DURATION, unit="s", description="From a request's submission to its end."
)
_first_token = _meter.create_histogram(
    names.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN, unit="s", description="From a request's submission to its first token."
)
_per_token = _meter.create_histogram(
    names.GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN, unit="s", description="Time per token after the first."
)
_tokens = _meter.create_histogram(
    names.GEN_AI_CLIENT_TOKEN_USAGE, unit="{token}", description="Tokens read and written by a request."
)


class Observation:
    """Of one request, from its making to `end`.

    Its span is nobody's parent: as the current one it would leak out of a generator between two pieces.
    """

    def __init__(self, model: str, *, read: int) -> None:
        """`read` is the prompt's tokens, the image's among them."""
        self._attributes = {
            names.GEN_AI_OPERATION_NAME: names.GENERATE_CONTENT,
            names.GEN_AI_PROVIDER_NAME: "vllm",
            names.GEN_AI_REQUEST_MODEL: model,
        }
        self._span = _tracer.start_span(
            f"{names.GENERATE_CONTENT} {model}", kind=trace.SpanKind.CLIENT, attributes=self._attributes
        )
        self._read = read
        self._written = 0
        self._began = time.monotonic()
        self._first_token_s: float | None = None
        self._stats: RequestStateStats | None = None

    def wrote(self, tokens: int, stats: "RequestStateStats | None") -> None:
        """`tokens` more were written; `stats` is what vLLM said with them."""
        self._written += tokens
        self._stats = stats or self._stats
        if self._first_token_s is None:
            self._first_token_s = time.monotonic() - self._began

    def failed(self, why: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR, why)

    def end(self) -> None:
        """The request is over, whole or cut."""
        seconds = time.monotonic() - self._began
        _duration.record(seconds, self._attributes)
        _tokens.record(self._read, self._attributes | {names.GEN_AI_TOKEN_TYPE: "input"})
        _tokens.record(self._written, self._attributes | {names.GEN_AI_TOKEN_TYPE: "output"})
        if self._first_token_s is not None:
            _first_token.record(self._first_token_s, self._attributes)
            if self._written > 1:
                _per_token.record((seconds - self._first_token_s) / (self._written - 1), self._attributes)
        self._span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, self._read)
        self._span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, self._written)
        self._span.set_attributes(_engine_times(self._stats))
        self._span.end()


def _engine_times(stats: "RequestStateStats | None") -> dict[str, float]:
    """Seconds the request was queued, in prefill and in decode."""
    if stats is None or not stats.first_token_ts:
        return {}
    return {
        "chiasm.engine.queue_s": stats.scheduled_ts - stats.queued_ts,
        "chiasm.engine.prefill_s": stats.first_token_ts - stats.scheduled_ts,
        "chiasm.engine.decode_s": stats.last_token_ts - stats.first_token_ts,
    }
