"""Verdicts: whether an answer stands."""

import asyncio
from dataclasses import dataclass, field

import pytest

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import models_pb2
from services.gateway.answerer import Ask, Weight
from services.gateway.cascade.faults import Fault
from services.gateway.cascade.judging import judge
from services.gateway.clock import Clock


@dataclass(frozen=True)
class Candidate:
    min_confidence: float | None = None
    calibration: tuple[tuple[float, float], ...] = ()
    model: models_pb2.Model = field(default_factory=lambda: models_pb2.Model(name="models/small"))


async def verdict(candidate: Candidate, text: str = "3", confidence: float | None = 0.5):
    part = generation.Part(text="how many cats are there?")
    request = generation.GenerateRequest(task=generation.TASK_ANSWER, messages=[generation.Message(parts=[part])])
    ask = Ask(request, "search", asyncio.get_running_loop().time() + 5, Clock(), Weight(0, 0))
    finished = generation.Finished(finish_reason=generation.FINISH_REASON_STOP, confidence=confidence)
    return judge(candidate, ask, generation.Delta(text=text), finished)


@pytest.mark.parametrize(
    ("least", "calibration", "confidence", "sure"),
    [
        (0.5, (), 0.5, True),
        (0.6, (), 0.5, False),
        (None, (), 0.5, True),
        (0.6, ((0.4, 0.5), (0.6, 0.9)), 0.7, True),
        (0.8, ((0.4, 0.5), (0.6, 0.9)), 0.7, False),
        (0.9, ((0.1, 0.9),), 0.9, True),
    ],
)
async def test_calibrated_confidence_decides(
    least: float | None, calibration: tuple[tuple[float, float], ...], confidence: float, sure: bool
) -> None:
    found = await verdict(Candidate(least, calibration))
    assert (found.confidence, found.sure, found.faults) == (pytest.approx(confidence), sure, ())


async def test_an_answer_with_a_fault_is_surely_wrong() -> None:
    found = await verdict(Candidate(0.1), text="a cat")
    assert (found.confidence, found.sure, found.faults) == (0.0, False, (Fault.NO_NUMBER,))


async def test_a_fault_escalates_also_where_the_model_tells_no_confidence() -> None:
    assert not (await verdict(Candidate(0.1), text="a cat", confidence=None)).sure


async def test_without_a_confidence_an_answer_stands() -> None:
    found = await verdict(Candidate(0.9), confidence=None)
    assert (found.confidence, found.sure) == (None, True)


async def test_where_the_policy_asks_for_none_any_answer_stands() -> None:
    assert (await verdict(Candidate(None), text="a cat")).sure
