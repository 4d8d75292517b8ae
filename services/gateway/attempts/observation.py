"""What is told of attempts: metrics, and events on the call's span."""

from opentelemetry import metrics, trace

from chiasm.v1 import models_pb2
from services.runtime import names

_meter = metrics.get_meter("chiasm.gateway")
_attempts = _meter.create_histogram(
    "chiasm.gateway.attempt.duration", unit="s", description="From an attempt's start to its end, by its status."
)
_fallbacks = _meter.create_counter(
    "chiasm.gateway.fallbacks", unit="{attempt}", description="Attempts after one that failed or gave no answer."
)
_retries = _meter.create_counter(
    "chiasm.gateway.retries", unit="{attempt}", description="Further attempts at a target that failed."
)
_escalations = _meter.create_counter(
    "chiasm.gateway.escalations", unit="{attempt}", description="Answers that were not sure enough, by what was done."
)
_hedges = _meter.create_counter(
    "chiasm.gateway.hedges", unit="{attempt}", description="Second copies of slow calls, by whether they won."
)


def attempt_ended(model: models_pb2.Model, status: str, seconds: float) -> None:
    attributes = {
        names.GEN_AI_PROVIDER_NAME: model.provider,
        names.GEN_AI_REQUEST_MODEL: model.name,
        names.RPC_RESPONSE_STATUS_CODE: status,
    }
    _attempts.record(seconds, attributes)
    trace.get_current_span().add_event("chiasm.attempt", attributes)


def fell_back(reason: str, model: str) -> None:
    """Another candidate is asked, for a reason as the policy names them."""
    _tell(_fallbacks, "chiasm.fallback", {"chiasm.reason": reason, names.GEN_AI_REQUEST_MODEL: model})


def retried(reason: str, model: str) -> None:
    _tell(_retries, "chiasm.retry", {"chiasm.reason": reason, names.GEN_AI_REQUEST_MODEL: model})


def escalated(model: str, *, made: bool) -> None:
    """An answer of `model` was not sure enough; `made` says whether another model is asked."""
    _tell(_escalations, "chiasm.escalation", {names.GEN_AI_REQUEST_MODEL: model, "chiasm.made": made})


def hedged(model: str, *, won: bool) -> None:
    """A call was hedged with `model`."""
    _tell(_hedges, "chiasm.hedge", {names.GEN_AI_REQUEST_MODEL: model, "chiasm.won": won})


def _tell(counter: metrics.Counter, event: str, attributes: dict[str, str | bool]) -> None:
    counter.add(1, attributes)
    trace.get_current_span().add_event(event, attributes)
