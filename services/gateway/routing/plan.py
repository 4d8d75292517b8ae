"""What the router decided about a request, and why."""

from dataclasses import dataclass
from enum import IntEnum

from chiasm.v1 import errors_pb2, models_pb2
from services.gateway.routing.prediction import Forecast
from services.gateway.routing.requirements import Requirements
from services.gateway.routing.target import Target
from services.runtime.errors import ChiasmError


class Cause(IntEnum):
    """Why a model is not asked, what is likeliest to pass first: it decides the error where none is asked."""

    TIME = 1
    CIRCUIT = 2
    NOT_READY = 3
    COST = 4
    CAPABILITY = 5
    POLICY = 6
    TENANT = 7


@dataclass(frozen=True)
class Refusal:
    """Why a model is not asked."""

    cause: Cause
    why: str
    """To be read after the model's name: `cannot read video`."""
    field: str = ""
    """Of CAPABILITY, the request's field that it cannot do."""
    reason: errors_pb2.ErrorReason = errors_pb2.ERROR_REASON_FIELD_INVALID
    """Of CAPABILITY."""
    retry_after_s: float = 1.0
    """When to try again, where that may help."""


@dataclass(frozen=True)
class Candidate:
    """A model at a target that may be asked."""

    target: Target
    model: models_pb2.Model
    needs: Requirements
    forecast: Forecast
    min_confidence: float | None
    """The next one is asked where the answer's calibrated confidence is below; never when None."""
    calibration: tuple[tuple[float, float], ...]
    """As `CandidatePolicy` has it."""

    @property
    def expected_s(self) -> float:
        """From the attempt's start to its end."""
        return self.forecast.total_s

    @property
    def expected_first_token_s(self) -> float:
        """From the attempt's start to its first delta."""
        return self.forecast.first_token_s

    @property
    def work_s(self) -> float:
        """Of `expected_s`, what the answer itself takes: what `Target.working` is told."""
        return self.forecast.work_s

    @property
    def expected_cost_nanousd(self) -> int:
        """What the answer is expected to cost."""
        return self.forecast.cost_nanousd


@dataclass(frozen=True)
class Considered:
    """A model at a target that was looked at."""

    candidate: Candidate
    refusal: Refusal | None
    """None where it may be asked."""

    @property
    def cause(self) -> Cause | None:
        """Why it may not be asked; None where it may."""
        return self.refusal.cause if self.refusal else None

    @property
    def verdict(self) -> str:
        """What became of it, in words."""
        return self.refusal.why if self.refusal else "may be asked"


@dataclass(frozen=True)
class Plan:
    """What was decided."""

    candidates: tuple[Candidate, ...]
    """In the order in which they are to be asked."""
    considered: tuple[Considered, ...]
    """Every model of every target: first those in `candidates`, in their order."""
    error: ChiasmError | None
    """Why there is no candidate; None where there is one."""
