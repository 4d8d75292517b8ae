"""What is told of each attempt: a span and metrics, named as OpenTelemetry's GenAI conventions have it."""

from opentelemetry import metrics, trace

from services.gemini_proxy.attempt import Plan, Result
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.usage import Modality
from services.runtime import names

PROVIDER = "gcp.gemini"

_tracer = trace.get_tracer("chiasm.gemini_proxy")
_meter = metrics.get_meter("chiasm.gemini_proxy")
_duration = _meter.create_histogram(
    names.GEN_AI_CLIENT_OPERATION_DURATION, unit="s", description="From an attempt's start to its end."
)
_first_token = _meter.create_histogram(
    names.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN, unit="s", description="From an attempt's start to its first piece."
)
_tokens = _meter.create_histogram(
    names.GEN_AI_CLIENT_TOKEN_USAGE, unit="{token}", description="Tokens read and written by an attempt."
)
_cost = _meter.create_counter("chiasm.gemini.cost", unit="nUSD", description="Billed, in nano-US-dollars.")
_error = _meter.create_histogram(
    "chiasm.gemini.estimate.error",
    unit="1",
    description="Input tokens estimated over input tokens billed, minus 1, by modality.",
    explicit_bucket_boundaries_advisory=[-0.5, -0.2, -0.1, -0.05, -0.01, 0, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 4],
)
_over = _meter.create_counter(
    "chiasm.gemini.budget.exceeded", unit="{attempt}", description="Attempts that may go beyond a soft budget."
)
_waited = _meter.create_histogram("chiasm.gemini.wait", unit="s", description="Time waited for room in the limits.")


class Observation:
    """Of one attempt. Its span is nobody's parent: as the current one it would leak out of a generator."""

    def __init__(self, plan: Plan, *, waited_s: float) -> None:
        self._plan = plan
        operation = names.EMBEDDINGS if isinstance(plan.question, EmbeddingQuestion) else names.GENERATE_CONTENT
        self._attributes = {
            names.GEN_AI_OPERATION_NAME: operation,
            names.GEN_AI_PROVIDER_NAME: PROVIDER,
            names.GEN_AI_REQUEST_MODEL: plan.question.model,
            "chiasm.gemini.member": plan.lease.member,
        }
        self._span = _tracer.start_span(
            f"{operation} {plan.question.model}", kind=trace.SpanKind.CLIENT, attributes=self._attributes
        )
        self._span.set_attribute("chiasm.attempt_id", plan.claim.attempt_id)
        self._span.set_attribute("chiasm.tenant", plan.question.tenant)
        self._span.set_attribute("chiasm.gemini.wait_s", waited_s)
        _waited.record(waited_s, self._attributes)
        for budget in plan.lease.over_soft_budget:
            self._span.set_attribute(f"chiasm.gemini.{budget}.exceeded", True)
            _over.add(1, {"chiasm.tenant": plan.question.tenant, "chiasm.gemini.budget": budget})

    def end(self, result: Result | None) -> None:
        """The attempt is over and settled; None where this server cut it."""
        if result is None:
            self._span.set_status(trace.StatusCode.ERROR, "cut by this server")
            self._span.end()
            return
        usage = result.usage
        attributes = self._attributes | {names.GEN_AI_RESPONSE_MODEL: result.model or self._plan.question.model}
        if result.failure is not None:
            attributes[names.ERROR_TYPE] = result.failure.kind.label
            self._span.set_status(trace.StatusCode.ERROR, result.failure.kind.label)
        _duration.record(result.seconds, attributes)
        if result.first_token_s is not None:
            _first_token.record(result.first_token_s, attributes)
        _tokens.record(usage.input_tokens, attributes | {names.GEN_AI_TOKEN_TYPE: "input"})
        _tokens.record(usage.output_tokens, attributes | {names.GEN_AI_TOKEN_TYPE: "output"})
        _cost.add(result.cost_nanousd, attributes | {"chiasm.tenant": self._plan.question.tenant})
        self._record_estimate(result)
        self._span.set_attributes(
            attributes
            | {
                names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
                names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
                names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_tokens,
                names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.thinking,
                "chiasm.cost_nanousd": result.cost_nanousd,
            }
        )
        self._span.end()

    def _record_estimate(self, result: Result) -> None:
        for modality in Modality:
            expected = self._plan.estimate.expected.get(modality, 0)
            billed = result.usage.input.get(modality, 0)
            if expected and billed:
                _error.record(expected / billed - 1, {**self._attributes, "chiasm.modality": modality.value})
