"""What an answer ended with: the provider's word for it, and whether it is of the form asked for."""

import json
from enum import Enum
from typing import NoReturn

from jsonschema_rs import Draft202012Validator, RegexOptions

from services.gemini_proxy.attempt import Result
from services.gemini_proxy.question import Question, Settings, Task
from services.gemini_proxy.tasks import Detection, MalformedAnswer, read_boxes, read_json
from services.runtime.errors import InvalidArgument


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

    Nor may it refer to other documents, or have a pattern with a look-around or a back-reference.
    """
    try:
        _validator(schema)
    except (ValueError, RecursionError) as error:
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
        _validator(schema).validate(answer)
    except (ValueError, RecursionError) as error:
        place = "/".join(map(str, getattr(error, "instance_path", ())))
        raise MalformedAnswer(f"at /{place[:100]}: {_first_line(error)}") from error


def _validator(schema: str) -> Draft202012Validator:
    """Raises ValueError, and RecursionError, for what is no schema. Its patterns match in linear time."""
    return Draft202012Validator(
        json.loads(schema), retriever=_no_document, pattern_options=RegexOptions(), mask="the value"
    )


def _no_document(uri: str) -> NoReturn:
    raise ValueError("references to other documents are not followed")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:150]
