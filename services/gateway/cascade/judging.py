"""Whether a whole answer is good enough to be given, or a stronger model should be asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry import metrics

from chiasm.v1 import generation_pb2, models_pb2
from services.gateway.answerer import Ask
from services.gateway.cascade.agreement import agreement, question_of, reads_text, should_be_whole
from services.gateway.cascade.calibration import calibrated
from services.gateway.cascade.checks import faults_of
from services.gateway.cascade.faults import Fault
from services.gateway.cascade.ocr import TextReader
from services.gateway.media.contents import media_of
from services.runtime import names
from services.runtime.media_types import picture_type

# Of the time left: so that another model still may answer.
_SHARE_FOR_READING = 0.5

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


class Judge:
    """Judges the answers of one gateway."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader

    async def __call__(
        self, candidate: Judged, ask: Ask, said: generation_pb2.Delta, finished: generation_pb2.Finished
    ) -> Verdict:
        """`said` is the whole text; `finished` is as the model server sent it.

        Reading the pictures takes at most half of the time that `ask` has left. It is done only where it decides.
        """
        verdict = _verdict(candidate, finished, await _form_faults(ask.request, said.text, finished))
        if verdict.sure and candidate.min_confidence and await self._ocr_disagrees(ask, said.text, finished):
            verdict = _verdict(candidate, finished, (Fault.OCR_DISAGREES,))
        for fault in verdict.faults:
            _faults.add(1, {names.GEN_AI_REQUEST_MODEL: candidate.model.name, "chiasm.fault": fault})
        return verdict

    async def _ocr_disagrees(self, ask: Ask, text: str, finished: generation_pb2.Finished) -> bool:
        policy = ask.policy.policy.cascade.ocr_agreement
        if policy is None or not reads_text(ask.request):
            return False
        files = [media.data for _, media in media_of(ask.request)]
        if not files or not all(map(picture_type, files)):
            return False
        now = asyncio.get_running_loop().time()
        until = now + min(policy.timeout_s, _SHARE_FOR_READING * (ask.deadline - now))
        lines = await self._reader.read(files, until)
        if lines is None:
            return False
        whole = should_be_whole(ask.request, finished)
        likeness = agreement(text, lines, question=question_of(ask.request), all_of_it=whole)
        return likeness is not None and likeness < policy.similarity


async def _form_faults(
    request: generation_pb2.GenerateRequest, text: str, finished: generation_pb2.Finished
) -> tuple[Fault, ...]:
    if request.config.json_schema:  # which may take a while to compile
        return await asyncio.to_thread(lambda: tuple(faults_of(request, text, finished)))
    return tuple(faults_of(request, text, finished))


def _verdict(candidate: Judged, finished: generation_pb2.Finished, faults: tuple[Fault, ...]) -> Verdict:
    confidence: float | None = None
    if faults:
        confidence = 0.0
    elif finished.HasField("confidence"):
        confidence = calibrated(candidate.calibration, finished.confidence)
    enough = candidate.min_confidence is None or confidence is None or confidence >= candidate.min_confidence
    return Verdict(confidence, enough, faults)
