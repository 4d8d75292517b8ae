"""Each task in words that Gemini understands, and its boxes in pixels.

https://ai.google.dev/gemini-api/docs/image-understanding#object-detection: `box_2d` is [ymin, xmin, ymax, xmax] in
thousandths of the picture's height and width.
"""

import json
from dataclasses import dataclass

from services.gemini_proxy.question import Task

_SCALE = 1_000

DETECTION_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "box_2d": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
            "label": {"type": "string"},
        },
        "required": ["box_2d", "label"],
    },
}


@dataclass(frozen=True)
class Detection:
    """One thing found, in pixels of the upright picture."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float


class MalformedAnswer(ValueError):
    """The answer is not of the form that was asked for; the message says in what."""


def prompt_of(task: Task, text: str) -> str:
    """What is written after the media; empty for an open request, whose own parts say it all."""
    match task:
        case Task.CAPTION:
            return "Describe this in one sentence. Answer with the sentence alone."
        case Task.ANSWER:
            return f"{text}\nAnswer with the answer alone, in as few words as it takes."
        case Task.READ_TEXT:
            return "Read all the text in this, from top to bottom. Answer with the text alone."
        case Task.DETECT:
            wanted = ", ".join(json.dumps(name.strip(), ensure_ascii=False) for name in text.split(" ; "))
            return (
                f"Find every instance of {wanted}. Answer with a JSON list; each item has `label`, one of the given, "
                "and `box_2d`, [ymin, xmin, ymax, xmax] normalised to 0-1000. An empty list if there is none."
            )
    return ""


def read_boxes(answer: str, width: int, height: int) -> tuple[Detection, ...]:
    """What `answer` found in a picture of `width` x `height` pixels; boxes without an area are left out.

    Raises MalformedAnswer.
    """
    items = read_json(answer)
    if not isinstance(items, list):
        raise MalformedAnswer("not a JSON list")
    detections = []
    for number, item in enumerate(items):
        box = item.get("box_2d") if isinstance(item, dict) else None
        label = item.get("label") if isinstance(item, dict) else None
        if not _is_text(label) or not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise MalformedAnswer(f"item {number} has no `label` and `box_2d`")
        top, left, bottom, right = (min(max(place, 0), _SCALE) / _SCALE for place in box)
        if top < bottom and left < right:
            detections.append(Detection(label, left * width, top * height, right * width, bottom * height))
    return tuple(detections)


def unfenced(answer: str) -> str:
    """An answer in JSON without the code fence that models like to put around it."""
    return answer.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()


def read_json(answer: str) -> object:
    """Raises MalformedAnswer."""
    try:
        return json.loads(unfenced(answer))
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer("not JSON") from error


def _is_text(value: object) -> bool:
    """JSON may escape half a character, which cannot be sent on."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_number(value: object) -> bool:
    """JSON's of any size, but not the NaN that Python reads too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
