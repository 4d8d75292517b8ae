"""Spans and metrics of attempts, batches and caches, named as OpenTelemetry's GenAI conventions have it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.context import Context

from services.gemini_proxy.accounts.books import Claim, Lease, Outcome, Settlement
from services.gemini_proxy.attempt import Plan, Result
from services.gemini_proxy.batch_store import Record, State
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.failures import AttemptFailed
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime import names

PROVIDER = "gcp.gemini"
# The provider's own names: https://ai.google.dev/api/batch-api, https://ai.google.dev/api/caching
_BATCH = "batch_generate_content"
CREATE_CACHE, PROLONG_CACHE = "create_cached_content", "update_cached_content"

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
_open_batches = _meter.create_gauge(
    "chiasm.gemini.batches.open", unit="{batch}", description="Batches of all replicas that have not ended."
)
_waited = _meter.create_histogram("chiasm.gemini.wait", unit="s", description="Time waited for room in the limits.")


class Observation:
    """Of one attempt. Its span is nobody's parent: as the current one it would leak out of a generator."""

    def __init__(self, plan: Plan, *, waited_s: float) -> None:
        self._plan = plan
        operation = names.EMBEDDINGS if isinstance(plan.question, EmbeddingQuestion) else names.GENERATE_CONTENT
        self._attributes = _attributes(operation, plan.question.model, plan.lease.member)
        self._span = _tracer.start_span(
            f"{operation} {plan.question.model}", kind=trace.SpanKind.CLIENT, attributes=self._attributes
        )
        self._span.set_attribute("chiasm.attempt_id", plan.claim.attempt_id)
        self._span.set_attribute("chiasm.tenant", plan.question.tenant)
        self._span.set_attribute("chiasm.gemini.wait_s", waited_s)
        _waited.record(waited_s, self._attributes)
        for budget in plan.lease.over_soft_budget:
            self._span.set_attribute(f"chiasm.gemini.{budget}.exceeded", True)
        soft_budgets_exceeded(plan.question.tenant, plan.lease)

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
        _count_usage(usage, result.cost_nanousd, attributes, self._plan.question.tenant)
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


def soft_budgets_exceeded(tenant: str, lease: Lease) -> None:
    """Counts those that the lease goes beyond."""
    for budget in lease.over_soft_budget:
        _over.add(1, {"chiasm.tenant": tenant, "chiasm.gemini.budget": budget})


def batches_open(count: int) -> None:
    """How many batches have not ended."""
    _open_batches.set(count)


@contextmanager
def batch_sent(record: Record) -> Iterator[None]:
    """Around the call that sends a batch. Lets AttemptFailed pass."""
    attributes = _batch_attributes(record)
    with _tracer.start_as_current_span(
        f"{_BATCH} {record.model}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except AttemptFailed as failure:
            span.set_attribute(names.ERROR_TYPE, failure.kind.label)
            span.set_status(trace.StatusCode.ERROR, failure.kind.label)
            raise


def batch_ended(record: Record, settled: Sequence[Settlement]) -> None:
    """A batch has ended and is kept; `settled` are its requests that are booked now and were not before."""
    attributes = _batch_attributes(record)
    if record.state is not State.SUCCEEDED:
        attributes[names.ERROR_TYPE] = record.state.value
    _duration.record(record.ended_at - record.started_at, attributes)
    for settlement in settled:
        _count_usage(settlement.usage, settlement.cost_nanousd, attributes, record.tenant)
    # Hours may lie between its ends, and another replica's call may have begun it: a trace of its own.
    span = _tracer.start_span(
        f"batch {record.model}", context=Context(), attributes=attributes, start_time=_nanoseconds(record.started_at)
    )
    span.set_attributes(
        {
            "chiasm.batch_id": record.id,
            "chiasm.tenant": record.tenant,
            "chiasm.gemini.batch.requests": record.count,
            "chiasm.gemini.batch.succeeded": record.succeeded,
            "chiasm.cost_nanousd": (record.usage or {}).get("cost_nanousd", 0),
        }
    )
    if record.state is not State.SUCCEEDED:
        span.set_status(trace.StatusCode.ERROR, record.state.value)
    span.end(_nanoseconds(record.ended_at))


def cache_paid(operation: str, claim: Claim, settlement: Settlement, *, began_at: float, ended_at: float) -> None:
    """A cache was made or prolonged, or was not to be had. Times are seconds since 1970."""
    attributes = _attributes(operation, claim.model, claim.members[0])
    if settlement.outcome is not Outcome.OK:
        attributes[names.ERROR_TYPE] = settlement.outcome.value
    _duration.record(ended_at - began_at, attributes)
    _count_usage(settlement.usage, settlement.cost_nanousd, attributes, claim.tenant)
    span = _tracer.start_span(
        f"{operation} {claim.model}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        start_time=_nanoseconds(began_at),
    )
    span.set_attributes(
        {
            "chiasm.attempt_id": claim.attempt_id,
            "chiasm.tenant": claim.tenant,
            names.GEN_AI_USAGE_INPUT_TOKENS: settlement.usage.input_tokens,
            "chiasm.cost_nanousd": settlement.cost_nanousd,
        }
    )
    if settlement.outcome is not Outcome.OK:
        span.set_status(trace.StatusCode.ERROR, settlement.outcome.value)
    span.end(_nanoseconds(ended_at))


def _attributes(operation: str, model: str, member: str) -> dict[str, str]:
    return {
        names.GEN_AI_OPERATION_NAME: operation,
        names.GEN_AI_PROVIDER_NAME: PROVIDER,
        names.GEN_AI_REQUEST_MODEL: model,
        "chiasm.gemini.member": member,
    }


def _batch_attributes(record: Record) -> dict[str, str]:
    return _attributes(_BATCH, record.model, record.member)


def _count_usage(usage: TokenUsage, cost_nanousd: int, attributes: Mapping[str, str], tenant: str) -> None:
    _tokens.record(usage.input_tokens, {**attributes, names.GEN_AI_TOKEN_TYPE: "input"})
    _tokens.record(usage.output_tokens, {**attributes, names.GEN_AI_TOKEN_TYPE: "output"})
    _cost.add(cost_nanousd, {**attributes, "chiasm.tenant": tenant})


def _nanoseconds(at: float) -> int:
    return round(at * 1e9)
