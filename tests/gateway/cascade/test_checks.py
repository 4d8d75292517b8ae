"""What shows that an answer cannot be right."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1 import media_pb2 as media
from services.gateway.cascade.checks import faults_of
from services.gateway.cascade.faults import Fault

SCHEMA = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
STOP, CUT = generation.FINISH_REASON_STOP, generation.FINISH_REASON_MAX_TOKENS
TEXT_TASKS = (generation.TASK_OPEN, generation.TASK_CAPTION, generation.TASK_ANSWER, generation.TASK_READ_TEXT)


def picture(width: int = 40, height: int = 20, orientation: int = 1, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(out, kind, exif=exif)
    return out.getvalue()


def asked(
    task: generation.Task, words: str = "", data: bytes | None = None, **config: object
) -> generation.GenerateRequest:
    parts = [generation.Part(media=media.Media(data=picture() if data is None else data)), generation.Part(text=words)]
    return generation.GenerateRequest(
        task=task,
        messages=[generation.Message(role=generation.ROLE_USER, parts=parts)],
        config=generation.GenerationConfig(**config),
    )


def faults(
    request: generation.GenerateRequest,
    text: str = "",
    *found: media.Detection,
    reason: generation.FinishReason = STOP,
) -> list[Fault]:
    return list(faults_of(request, text, generation.Finished(finish_reason=reason, detections=found)))


def box(x_min: float, y_min: float, x_max: float, y_max: float, label: str = "cat") -> media.Detection:
    return media.Detection(label=label, box=media.BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max))


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_an_answer_cut_by_the_models_own_limit_is_at_fault_and_one_cut_as_asked_is_not(task: generation.Task) -> None:
    assert faults(asked(task), "a red", reason=CUT) == [Fault.CUT]
    assert faults(asked(task, max_tokens=2), "a red", reason=CUT) == []
    assert faults(asked(task), "a red") == []


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("3", True),
        ("There are three circles.", True),
        ("none", True),
        ("$1,250.00", True),
        ("a circle", False),
        ("nine-pins stand", True),
        ("often", False),
    ],
)
@pytest.mark.parametrize(
    "question",
    ["how many circles are there?", "How many?", "what is the value of Mar?", "What's the number of cats here?"],
)
def test_where_a_number_is_asked_for_there_is_one(question: str, text: str, ok: bool) -> None:
    assert (faults(asked(generation.TASK_ANSWER, question), text) == []) is ok


def test_other_questions_need_no_number() -> None:
    for question in ("what color is the star?", "what is the number plate?", "somehow manytimes"):
        assert faults(asked(generation.TASK_ANSWER, question), "blue") == []
    assert faults(asked(generation.TASK_OPEN, "how many?"), "several") == []


@pytest.mark.parametrize(
    "text",
    [
        "the cat sat on " + "the mat, " * 10,
        "a star. " * 6,
        "GHAHAHAHAHAHAHA",
        "so " + "very\n" * 100,
        "the the the the the the",
        "Я знаю " * 8,
    ],
)
@pytest.mark.parametrize("task", TEXT_TASKS)
def test_an_answer_that_ends_in_the_same_words_over_and_over_is_at_fault(task: generation.Task, text: str) -> None:
    assert faults(asked(task), text) == [Fault.REPETITION]


@pytest.mark.parametrize(
    "text", ["no, no, no", "1000000000", "0 0 0 0 0 0 0 0", "-------------", "a cat. " * 3, "", "一二三"]
)
def test_repetition_may_be_right(text: str) -> None:
    assert faults(asked(generation.TASK_READ_TEXT), text) == []


@pytest.mark.parametrize(
    ("text", "ok"), [('{"n": 3}', True), ('{"n": "3"}', False), ("n is 3", False), ("[" * 100_000, False), ("", False)]
)
def test_json_is_of_its_schema(text: str, ok: bool) -> None:
    found = faults(asked(generation.TASK_ANSWER, "how many?", json_schema=SCHEMA), text)
    assert found == ([] if ok else [Fault.NOT_OF_SCHEMA])


def test_an_answer_too_long_for_its_schema_to_be_checked_is_at_fault() -> None:
    schema = json.dumps({"items": {"anyOf": [{"const": kind} for kind in range(4_000)]}})
    request = asked(generation.TASK_ANSWER, "how many?", json_schema=schema)
    assert faults(request, json.dumps([1] * 10)) == []
    assert faults(request, json.dumps([1] * 5_000)) == [Fault.NOT_OF_SCHEMA]


@pytest.mark.parametrize(
    "schema",
    ["{", '{"type": 3}', '{"$ref": "https://example.com/x"}', '{"pattern": "(?=a)"}', r'{"pattern": "\\p{L}{100}"}'],
)
def test_what_is_no_schema_is_no_answers_fault(schema: str) -> None:
    assert faults(asked(generation.TASK_OPEN, json_schema=schema), "{}") == []


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ([box(0, 0, 40, 20)], []),
        ([box(1, 1, 5, 5), box(6, 6, 9, 9), box(1, 1, 5, 6)], []),
        ([box(1, 1, 5, 5, "cat"), box(1, 1, 5, 5, "dog")], []),
        ([box(1, 1, 5, 5, " CAT")], []),
        ([], []),
        ([box(-1, 0, 5, 5)], [Fault.BOX_OUTSIDE]),
        ([box(0, 0, 41, 5)], [Fault.BOX_OUTSIDE]),
        ([box(0, 0, 5, 21)], [Fault.BOX_OUTSIDE]),
        ([box(5, 5, 5, 9)], [Fault.BOX_OUTSIDE]),
        ([box(0, 0, float("nan"), 9)], [Fault.BOX_OUTSIDE]),
        ([box(1, 1, 5, 5), box(1, 1, 5, 5)], [Fault.BOX_TWICE]),
        ([box(1, 1, 5, 5, "bird")], [Fault.LABEL_NOT_ASKED]),
    ],
)
@pytest.mark.parametrize("task", [generation.TASK_DETECT, generation.TASK_SEGMENT])
def test_boxes(task: generation.Task, found: list[media.Detection], wrong: list[Fault]) -> None:
    assert faults(asked(task, "cat ; dog"), "", *found) == wrong


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_boxes_are_measured_by_the_upright_picture(kind: str) -> None:
    lying = picture(orientation=6, kind=kind)
    assert faults(asked(generation.TASK_DETECT, "cat", lying), "", box(0, 20, 20, 40)) == []
    assert faults(asked(generation.TASK_DETECT, "cat", lying), "", box(0, 0, 40, 20)) == [Fault.BOX_OUTSIDE]


def test_a_header_is_enough_to_measure_by() -> None:
    """What comes after it is never decoded, so it may as well be missing."""
    out = io.BytesIO()
    Image.new("RGB", (40, 20)).save(out, "PNG")
    assert faults(asked(generation.TASK_DETECT, "cat", out.getvalue()[:44]), "", box(0, 0, 20, 40)) == [
        Fault.BOX_OUTSIDE
    ]


def test_a_picture_whose_size_is_not_known_bounds_nothing() -> None:
    for data in (b"", b"no picture", picture()[:12]):
        assert faults(asked(generation.TASK_DETECT, "cat", data), "", box(0, 0, 9_000, 9_000)) == []


def test_boxes_that_were_written_and_could_not_be_read() -> None:
    text = "<loc0001><loc0002><loc0300><loc0400> cat ; <loc0001><loc0002>"
    assert faults(asked(generation.TASK_DETECT, "cat"), text, box(0, 0, 5, 5)) == [Fault.BOX_UNREADABLE]
    assert faults(asked(generation.TASK_DETECT, "cat"), text[:40], box(0, 0, 5, 5)) == []
    assert faults(asked(generation.TASK_DETECT, "cat"), "[]") == []


@given(st.text(max_size=500), st.sampled_from(TEXT_TASKS))
def test_any_text_can_be_checked(text: str, task: generation.Task) -> None:
    faults(asked(task, text), text)
