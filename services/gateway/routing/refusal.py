"""What a caller is told when no model can be asked."""

from collections.abc import Sequence

from chiasm.v1 import generation_pb2
from services.gateway.routing.plan import Cause, Considered
from services.runtime.errors import ChiasmError, InvalidArgument, NotFound, Overloaded, PermissionDenied, Unavailable


def error_of(request: generation_pb2.GenerateRequest, considered: Sequence[Considered]) -> ChiasmError | None:
    """Why none of `considered` may be asked, or that the model named is none of them; None where one may be asked."""
    seen = [each for each in considered if each.cause is not Cause.TENANT]
    ready = sorted({each.candidate.model.name for each in seen if _is_ready(each)})
    if not any(_is_ready(each) for each in considered):
        return Unavailable("no model server is ready yet, or none can be reached")
    if request.model and all(each.candidate.model.name != request.model for each in seen):
        served = f"; {', '.join(ready)} is" if ready else ""
        return NotFound(f"{request.model!r} is not served here{served}", field="model")
    if any(each.refusal is None for each in seen):
        return None
    cause = min((each.refusal.cause for each in seen), default=Cause.TENANT)
    return _error(cause, [each for each in seen if each.refusal.cause is cause], request)


def _error(cause: Cause, refused: Sequence[Considered], request: generation_pb2.GenerateRequest) -> ChiasmError:
    """`refused` are those that `cause` kept from being asked."""
    soonest_s = min((each.refusal.retry_after_s for each in refused), default=None)
    match cause:
        case Cause.TIME:
            fastest = min(refused, key=lambda each: each.candidate.expected_s)
            return Overloaded(f"no model can answer in time: {_told(fastest)}", retry_after_s=soonest_s)
        case Cause.CIRCUIT:
            return Unavailable("the servers that could answer have failed lately", retry_after_s=soonest_s)
        case Cause.NOT_READY if request.model:
            return Unavailable(f"the servers of {request.model!r} are not ready, or none can be reached")
        case Cause.NOT_READY:
            return Unavailable("the models that could answer are not ready, or cannot be reached")
        case Cause.COST:
            cheapest = min(refused, key=lambda each: each.candidate.expected_cost_nanousd)
            return InvalidArgument(
                f"no model answers for so little: {_told(cheapest)}", field="routing.max_cost_nanousd"
            )
        case Cause.CAPABILITY:
            told = "; ".join(dict.fromkeys(map(_told, refused)))
            first = refused[0].refusal
            return InvalidArgument(f"no model here can do this: {told}", field=first.field, reason=first.reason)
        case Cause.POLICY:
            return Unavailable("no model that the policy names for this task is served now")
    return PermissionDenied("this tenant may use none of the models served here")


def _told(each: Considered) -> str:
    return f"{each.candidate.model.name} {each.refusal.why}"


def _is_ready(each: Considered) -> bool:
    return each.candidate.model.name in each.candidate.target.models
