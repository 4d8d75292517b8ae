"""PaliGemma's prompt syntax by task.

Google, "PaliGemma prompt and system instructions"; big_vision `configs/proj/paligemma/transfers`.
"""

from enum import Enum

from chiasm.v1.errors_pb2 import ERROR_REASON_FIELD_REQUIRED
from services.runtime.errors import InvalidArgument

LANGUAGE = "en"


class Task(Enum):
    """What is wanted of a picture."""

    OPEN = "open"
    CAPTION = "caption"
    ANSWER = "answer"
    READ_TEXT = "read text"
    DETECT = "detect"
    SEGMENT = "segment"

    @property
    def max_tokens(self) -> int:
        """Most tokens of an answer whose caller named no number; generous over big_vision's transfers."""
        return {Task.CAPTION: 64, Task.ANSWER: 48}.get(self, 256)

    @property
    def takes_text(self) -> bool:
        return self not in (Task.CAPTION, Task.READ_TEXT)

    @property
    def finds(self) -> bool:
        """Whether the answer is made of location tokens."""
        return self in (Task.DETECT, Task.SEGMENT)


def build_prompt(task: Task, text: str, *, field: str) -> str:
    """The prompt without image tokens, `<bos>` and the newline that ends it.

    `text` is the question, or the things to find separated by `;`. Raises InvalidArgument naming
    `field` when the task needs text and there is none, or takes none and there is some.
    """
    words = " ".join(text.split())
    if task.takes_text and not words:
        raise InvalidArgument(
            f"the prompt is empty: {task.name} needs text beside the image",
            field=field,
            reason=ERROR_REASON_FIELD_REQUIRED,
        )
    if words and not task.takes_text:
        raise InvalidArgument(f"{task.name} takes no text beside the image", field=field)
    match task:
        case Task.OPEN:
            return words
        case Task.CAPTION:
            return f"caption {LANGUAGE}"
        case Task.ANSWER:
            return f"answer {LANGUAGE} {words}"
        case Task.READ_TEXT:
            return "ocr"
        case Task.DETECT:
            return f"detect {' ; '.join(_things(words, field))}"
        case Task.SEGMENT:
            return f"segment {' ; '.join(_things(words, field))}"


def _things(words: str, field: str) -> list[str]:
    things = [thing.strip() for thing in words.split(";")]
    if not all(things):
        raise InvalidArgument("separate the things to find by ` ; `, none of them empty", field=field)
    return things
