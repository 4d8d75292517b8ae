"""Which models the request and the policy put forward for a task, and in which order."""

from fnmatch import fnmatchcase

from chiasm.v1 import generation_pb2
from services.gateway.policy import CandidatePolicy, Policy

_ADAPTER = ":"


class Listing:
    """Of one request."""

    def __init__(self, request: generation_pb2.GenerateRequest, policy: Policy) -> None:
        task = generation_pb2.Task.Name(request.task or generation_pb2.TASK_OPEN)
        self._policy = policy.task(task.removeprefix("TASK_").lower())
        self._named = request.model
        self._fallback = request.routing.allow_fallback
        self._min_confidence = request.routing.min_confidence if request.routing.HasField("min_confidence") else None

    @property
    def order(self) -> str:
        """As `TaskPolicy.order`."""
        return self._policy.order

    def why_not(self, model: str) -> str:
        """Why the model is not put forward, to be read after its name; empty where it is."""
        if model == self._named:
            return ""
        if self._named and not self._fallback:
            return "is not the model named, and the request allows no other"
        if self._place(model) is None:
            return "is not among the policy's candidates for this task"
        return ""

    def rank(self, model: str) -> int:
        """Of a model that is put forward: the lower, the earlier; the model named is the first."""
        return -1 if model == self._named else self._place(model) or 0

    def min_confidence(self, model: str) -> float | None:
        """The request's, or else the policy's."""
        entry = self._entry(model)
        return entry.min_confidence if self._min_confidence is None and entry else self._min_confidence

    def calibration(self, model: str) -> tuple[tuple[float, float], ...]:
        """The policy's; empty where it has none."""
        entry = self._entry(model)
        return entry.calibration if entry else ()

    def _place(self, model: str) -> int | None:
        """The model's place among the policy's candidates; None where it is none of them."""
        candidates = self._policy.candidates
        if not candidates:
            return None if _ADAPTER in model else 0  # an adapter was trained for one thing: it is asked by name
        return next((i for i, candidate in enumerate(candidates) if fnmatchcase(model, candidate.model)), None)

    def _entry(self, model: str) -> CandidatePolicy | None:
        place = self._place(model)
        return self._policy.candidates[place] if place is not None and self._policy.candidates else None
