import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import media_pb2
from services.gemini_proxy.question import Task
from services.gemini_proxy.tasks import Detection, MalformedAnswer, prompt_of, read_boxes, read_json

WIDTH, HEIGHT = 640, 480


def boxes(*items: object) -> tuple[Detection, ...]:
    return read_boxes(json.dumps(items), WIDTH, HEIGHT)


def box(*places: object, label: object = "cat") -> dict[str, object]:
    return {"box_2d": list(places), "label": label}


def test_boxes_are_told_in_pixels_of_the_picture() -> None:
    assert boxes(box(250, 100, 500, 900)) == (Detection("cat", 64.0, 120.0, 576.0, 240.0),)
    assert boxes(box(0, 0, 1_000, 1_000)) == (Detection("cat", 0.0, 0.0, 640.0, 480.0),)
    assert boxes() == ()


def test_boxes_beyond_the_picture_are_cut_at_its_edge() -> None:
    assert boxes(box(-5, -1e300, 10**400, 1_001.5)) == (Detection("cat", 0.0, 0.0, 640.0, 480.0),)


def test_boxes_without_an_area_are_left_out() -> None:
    assert boxes(box(5, 5, 5, 10), box(10, 0, 5, 10), box(2_000, 0, 3_000, 10), box(0, 0, 1, 1)) == (
        Detection("cat", 0.0, 0.0, 0.64, 0.48),
    )


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        {},
        {"box_2d": [1, 2, 3, 4]},
        {"label": "cat"},
        box(1, 2, 3),
        box(1, 2, 3, 4, 5),
        box(1, 2, 3, "4"),
        box(1, 2, 3, None),
        box(1, 2, 3, True),
        box(1, 2, 3, math.nan),
        box(1, 2, 3, 4, label=None),
        box(1, 2, 3, 4, label="half a \ud83d"),
        {"box_2d": "1234", "label": "cat"},
    ],
)
def test_an_item_of_another_form_is_told_by_its_number(item: object) -> None:
    with pytest.raises(MalformedAnswer, match="item 1 "):
        boxes(box(1, 2, 3, 4), item)


@pytest.mark.parametrize("answer", ["", "{}", '{"box_2d": [1, 2, 3, 4]}', "null", "I see a cat.", "[" * 100_000])
def test_what_is_no_list_is_malformed(answer: str) -> None:
    with pytest.raises(MalformedAnswer):
        read_boxes(answer, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "answer",
    [
        '{"a": 1}',
        ' \n{"a": 1}\n ',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```',
        '\n```json\r\n{"a": 1}\r\n```\n',
        '```json{"a": 1}```',
    ],
)
def test_code_fences_are_stripped(answer: str) -> None:
    assert read_json(answer) == {"a": 1}


def test_fences_within_a_text_stay() -> None:
    assert read_json('"```json\\n1\\n```"') == "```json\n1\n```"


def test_an_endless_answer_is_read_in_no_time() -> None:
    """A pattern for fences would take hours, and the process with it."""
    with pytest.raises(MalformedAnswer):
        read_json("```\n" + "\n" * 100_000 + "x")


places = st.integers() | st.floats() | st.just(10**400) | st.booleans() | st.text(max_size=2)
labels = st.text(st.characters(), max_size=4) | st.integers()
items = st.fixed_dictionaries({"box_2d": st.lists(places, min_size=3, max_size=5), "label": labels})
answers = st.text() | st.lists(items, max_size=3).map(json.dumps) | st.text().map(lambda text: f"```json\n{text}\n```")


@given(answers, st.integers(1, 20_000), st.integers(1, 20_000))
def test_whatever_the_answer_boxes_lie_in_the_picture_and_can_be_sent(answer: str, width: int, height: int) -> None:
    try:
        found = read_boxes(answer, width, height)
    except MalformedAnswer:
        return
    for one in found:
        assert 0 <= one.x_min <= one.x_max <= width
        assert 0 <= one.y_min <= one.y_max <= height
        media_pb2.Detection(label=one.label).SerializeToString()


def test_a_task_is_asked_in_words() -> None:
    assert prompt_of(Task.OPEN, "anything") == ""
    assert prompt_of(Task.ANSWER, "How many?").startswith("How many?\n")
    assert '"cat", "black \\"dog\\""' in prompt_of(Task.DETECT, 'cat ;  black "dog" ')
    assert len({prompt_of(task, "cat") for task in Task}) == len(Task)
