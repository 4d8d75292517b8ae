"""What an answer ended with: the provider's word for it, and whether it is of the form asked for."""

from enum import Enum

from services.gemini_proxy.attempt import Result
from services.gemini_proxy.question import Question, Settings, Task
from services.gemini_proxy.tasks import Detection, MalformedAnswer, read_boxes, read_json
from services.runtime.errors import InvalidArgument
from services.runtime.json_validation import Validator


class FinishReason(Enum):
    STOP = "stop"
    MAX_TOKENS = "max_tokens"
    BLOCKED = "blocked"
    OTHER = "other"


# https://ai.google.dev/api/generate-content#FinishReason
_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)


def finish_of(word: str, message: str, text: str, result: Result, settings: Settings) -> tuple[FinishReason, str]:
    """The reason, and in more words: the provider's, and what to do where that helps."""
    detail = f"{word}: {message}"[:300] if message else word
    if word == "STOP":
        return FinishReason.STOP, detail
    if word == "MAX_TOKENS":
        if not text and result.usage.thinking:
            detail = (
                f"MAX_TOKENS: reasoning took {result.usage.thinking:,} of {settings.max_tokens:,} tokens and left none "
                "for the answer: raise config.max_tokens or lower config.thinking_level"
            )
        return FinishReason.MAX_TOKENS, detail
    if word in _BLOCKED or word.startswith("PROMPT_"):
        return FinishReason.BLOCKED, detail
    return FinishReason.OTHER, detail


def check_schema(schema: str, field: str) -> None:
    """Raises InvalidArgument naming `field` where `schema`, JSON text of an object, is no JSON schema of draft 2020-12.

    Nor may it be one that `Validator` does not take.
    """
    try:
        Validator(schema)
    except ValueError as error:
        raise InvalidArgument(f"not a JSON schema that can be kept to: {_first_line(error)}", field=field) from error


def read_form(question: Question, text: str) -> tuple[Detection, ...]:
    """Checks that `text` is of the form asked for; what was found, where that was the question.

    Raises MalformedAnswer.
    """
    if question.task is Task.DETECT:
        picture = question.files[0].facts
        return read_boxes(text, picture.width, picture.height)
    _check_answer(read_json(text), question.settings.json_schema)
    return ()


def _check_answer(answer: object, schema: str) -> None:
    try:
        Validator(schema).check(answer)
    except ValueError as error:
        raise MalformedAnswer(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:250]
