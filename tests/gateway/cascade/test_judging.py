"""Verdicts: whether an answer stands."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import media_pb2, models_pb2
from services.gateway.answerer import Ask, Weight
from services.gateway.cascade.faults import Fault
from services.gateway.cascade.judging import Judge, Verdict
from services.gateway.cascade.ocr import TextReader
from services.gateway.clock import Clock
from services.gateway.policy import CascadePolicy, OcrAgreementPolicy, Policy
from services.gateway.policy_file import LoadedPolicy
from tests.pictures import encoded, scene_png


@dataclass(frozen=True)
class Candidate:
    min_confidence: float | None = None
    calibration: tuple[tuple[float, float], ...] = ()
    model: models_pb2.Model = field(default_factory=lambda: models_pb2.Model(name="models/small"))


READER = TextReader(1)


@pytest.fixture(scope="module", autouse=True)
def closed_reader() -> Iterator[None]:
    yield
    asyncio.run(READER.close())


SURE = Candidate(0.5)
SIGN, SIGN_TEXT = (Path(__file__).parents[3] / "docs" / "sign.png").read_bytes(), "QHJY"
WITH_OCR = OcrAgreementPolicy(timeout_s=60)


async def verdict(candidate: Candidate, text: str = "3", confidence: float | None = 0.5) -> Verdict:
    request = asked(generation.TASK_ANSWER, "how many cats are there?")
    return await judged(candidate, request, text, confidence=confidence)


def asked(task: generation.Task, words: str = "", *pictures: bytes, **config: object) -> generation.GenerateRequest:
    parts = [generation.Part(media=media_pb2.Media(data=data)) for data in pictures]
    parts += [generation.Part(text=words)] if words else []
    return generation.GenerateRequest(
        task=task, messages=[generation.Message(parts=parts)], config=generation.GenerationConfig(**config)
    )


async def judged(
    candidate: Candidate,
    request: generation.GenerateRequest,
    text: str,
    *,
    confidence: float | None = 0.9,
    ocr: OcrAgreementPolicy | None = None,
    timeout_s: float = 120,
) -> Verdict:
    deadline = asyncio.get_running_loop().time() + timeout_s
    policy = LoadedPolicy(Policy(cascade=CascadePolicy(ocr_agreement=ocr)), "test")
    ask = Ask(request, "search", deadline, Clock(), Weight(0, 0), policy=policy)
    finished = generation.Finished(finish_reason=generation.FINISH_REASON_STOP, confidence=confidence)
    return await Judge(READER)(candidate, ask, generation.Delta(text=text), finished)


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


@pytest.mark.parametrize("confidence", [0.9, None])
@pytest.mark.parametrize(
    "request_",
    [asked(generation.TASK_READ_TEXT, "", SIGN), asked(generation.TASK_ANSWER, "what does the sign say?", SIGN)],
    ids=["read", "answer"],
)
async def test_an_answer_that_the_picture_does_not_say_is_surely_wrong(
    request_: generation.GenerateRequest, confidence: float | None
) -> None:
    wrong = await judged(SURE, request_, "OHIY", confidence=confidence, ocr=WITH_OCR)
    assert wrong == Verdict(0.0, False, (Fault.OCR_DISAGREES,))
    right = await judged(SURE, request_, SIGN_TEXT.lower(), confidence=confidence, ocr=WITH_OCR)
    assert right == Verdict(pytest.approx(confidence), True, ())


async def test_the_policy_says_how_like_it_must_be() -> None:
    request = asked(generation.TASK_READ_TEXT, "", SIGN)
    assert (await judged(SURE, request, "QHIY", ocr=OcrAgreementPolicy(similarity=0.7, timeout_s=60))).sure
    assert not (await judged(SURE, request, "QHIY", ocr=OcrAgreementPolicy(similarity=0.8, timeout_s=60))).sure


async def test_the_text_of_several_pictures_counts_together() -> None:
    request = asked(generation.TASK_READ_TEXT, "", SIGN, SIGN)
    assert (await judged(SURE, request, f"{SIGN_TEXT} {SIGN_TEXT}", ocr=WITH_OCR)).sure
    assert not (await judged(SURE, request, SIGN_TEXT, ocr=WITH_OCR)).sure


@pytest.mark.parametrize(
    ("candidate", "request_", "ocr"),
    [
        (SURE, asked(generation.TASK_READ_TEXT, "", SIGN), None),
        (Candidate(None), asked(generation.TASK_READ_TEXT, "", SIGN), WITH_OCR),
        (Candidate(0.95), asked(generation.TASK_READ_TEXT, "", SIGN), WITH_OCR),
        (SURE, asked(generation.TASK_ANSWER, "what color is the text?", SIGN), WITH_OCR),
        (SURE, asked(generation.TASK_READ_TEXT), WITH_OCR),
        (SURE, asked(generation.TASK_READ_TEXT, "", b"%PDF-1.7"), WITH_OCR),
        (SURE, asked(generation.TASK_READ_TEXT, "", SIGN, b"%PDF-1.7"), WITH_OCR),
        (SURE, asked(generation.TASK_READ_TEXT, "", SIGN[:200]), WITH_OCR),
        (SURE, asked(generation.TASK_READ_TEXT, "", scene_png()[1]), WITH_OCR),
    ],
    ids=["off", "no threshold", "unsure", "not reading", "no picture", "pdf", "a pdf too", "damaged", "no text"],
)
async def test_where_the_engine_has_no_say_the_answer_keeps_its_confidence(
    candidate: Candidate, request_: generation.GenerateRequest, ocr: OcrAgreementPolicy | None
) -> None:
    found = await judged(candidate, request_, "OHIY", ocr=ocr)
    assert (found.confidence, found.faults) == (pytest.approx(0.9), ())


@pytest.mark.parametrize(("timeout_s", "engine_s"), [(0.001, 60), (60, 0.001), (-1, 60)])
async def test_a_reading_that_would_keep_the_answer_waiting_is_left_out(timeout_s: float, engine_s: float) -> None:
    request = asked(generation.TASK_READ_TEXT, "", encoded(Image.new("RGB", (2_000, 2_000))))
    async with asyncio.timeout(30):
        found = await judged(SURE, request, "OHIY", ocr=OcrAgreementPolicy(timeout_s=engine_s), timeout_s=timeout_s)
    assert found.sure
