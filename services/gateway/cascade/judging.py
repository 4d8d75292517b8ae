"""Whether a whole answer is good enough to be given, or a stronger model should be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry import metrics

from chiasm.v1 import generation_pb2, models_pb2
from services.gateway.answerer import Ask
from services.gateway.cascade.calibration import calibrated
from services.gateway.cascade.checks import faults_of
from services.gateway.cascade.faults import Fault
from services.runtime import names

_faults = metrics.get_meter("chiasm.gateway").create_counter(
    "chiasm.gateway.answer.faults", unit="{fault}", description="Whole answers that cannot be right, by what shows it."
)


class Judged(Protocol):
    """A model that answered, and what the policy says of its confidence."""

    @property
    def model(self) -> models_pb2.Model: ...

    @property
    def min_confidence(self) -> float | None:
        """The least that is enough; None where any is."""

    @property
    def calibration(self) -> Sequence[tuple[float, float]]:
        """As `CandidatePolicy` has it."""


@dataclass(frozen=True)
class Verdict:
    """What is thought of a whole answer."""

    confidence: float | None
    """How likely it is right, calibrated, 0 to 1: 0 where it has a fault; None where the model says nothing of it."""
    sure: bool
    """Whether it is good enough."""
    faults: tuple[Fault, ...]
    """What shows that it cannot be right."""


def judge(candidate: Judged, ask: Ask, said: generation_pb2.Delta, finished: generation_pb2.Finished) -> Verdict:
    """`said` is the whole text; `finished` is as the model server sent it."""
    faults = tuple(faults_of(ask.request, said.text, finished))
    for fault in faults:
        _faults.add(1, {names.GEN_AI_REQUEST_MODEL: candidate.model.name, "chiasm.fault": fault})
    confidence: float | None = None
    if faults:
        confidence = 0.0
    elif finished.HasField("confidence"):
        confidence = calibrated(candidate.calibration, finished.confidence)
    enough = candidate.min_confidence is None or confidence is None or confidence >= candidate.min_confidence
    return Verdict(confidence, enough, faults)
