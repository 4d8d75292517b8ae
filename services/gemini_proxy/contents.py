"""A question as google-genai's types."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.genai import types

from services.gemini_proxy.catalogue import MediaResolution, find_model
from services.gemini_proxy.question import File, Piece, Question, Reference, Settings, Task, Text, Thinking, Turn
from services.gemini_proxy.tasks import DETECTION_SCHEMA, prompt_of

ATTEMPT_LABEL = "chiasm_attempt"
"""By this label of the provider's own record, an attempt is found whose process died."""

_HARMS = (
    types.HarmCategory.HARM_CATEGORY_HARASSMENT,
    types.HarmCategory.HARM_CATEGORY_HATE_SPEECH,
    types.HarmCategory.HARM_CATEGORY_SEXUALLY_EXPLICIT,
    types.HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT,
)
# Where a model thinks by budget, not by level (2.x): a share of the most it may.
_BUDGET_SHARES = {Thinking.MINIMAL: 0.0, Thinking.LOW: 0.125, Thinking.MEDIUM: 0.5, Thinking.HIGH: 1.0}


@dataclass(frozen=True)
class CachedPrefix:
    """The beginning of a question, which the provider keeps: its instructions, and the first pieces of its first turn.

    https://ai.google.dev/gemini-api/docs/caching
    """

    name: str
    """The provider's own."""
    pieces: int
    """How many of the pieces that are `spoken`; others follow them."""


def contents_of(question: Question, uris: Mapping[str, str], cached: CachedPrefix | None = None) -> list[types.Content]:
    """The turns without what is `cached`; a task's own words follow the last one's media. `uris` are files' addresses
    by their `at`."""
    contents = [
        types.Content(
            role="model" if turn.by_model else "user", parts=[_part(piece, uris) for piece in spoken(question, turn)]
        )
        for turn in question.turns
    ]
    if question.task is not Task.OPEN:
        contents[-1].parts.append(types.Part(text=prompt_of(question.task, task_text(question))))
    if cached:
        del contents[0].parts[: cached.pieces]
    return contents


def prefix_contents_of(files: Sequence[File], uris: Mapping[str, str]) -> list[types.Content]:
    """The files that begin a question, to be cached; none for none."""
    return [types.Content(role="user", parts=[_part(file, uris) for file in files])] if files else []


def task_text(question: Question) -> str:
    """The text of the last turn, which a task is asked with."""
    return "\n".join(piece.text for piece in question.turns[-1].pieces if isinstance(piece, Text))


def schema_of(question: Question) -> str:
    """The JSON schema that the answer is written to, as JSON text; empty for none."""
    return json.dumps(DETECTION_SCHEMA) if question.task is Task.DETECT else question.settings.json_schema


def instructions_of(question: Question) -> list[types.Part] | None:
    """What the model is told beside the turns; None where it is nothing."""
    return [types.Part(text=text.text) for text in question.system] or None


def config_of(
    question: Question, *, safety_threshold: str, cached: CachedPrefix | None = None
) -> types.GenerateContentConfig:
    """How to generate. Everything the SDK would do by itself, more calls above all, is off."""
    settings = question.settings
    schema = schema_of(question)
    return types.GenerateContentConfig(
        system_instruction=None if cached else instructions_of(question),
        cached_content=cached.name if cached else None,
        max_output_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        seed=settings.seed,
        stop_sequences=list(settings.stop) or None,
        candidate_count=1,
        response_mime_type="application/json" if schema else None,
        response_json_schema=json.loads(schema) if schema else None,
        media_resolution=_media_resolution(settings),
        thinking_config=_thinking(question.model, settings),
        safety_settings=[types.SafetySetting(category=harm, threshold=safety_threshold) for harm in _HARMS],
        automatic_continuation=False,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def spoken(question: Question, turn: Turn) -> list[Piece]:
    """The turn's pieces; the last one's text is part of the task's own words."""
    if question.task is Task.OPEN or turn is not question.turns[-1]:
        return list(turn.pieces)
    return [piece for piece in turn.pieces if not isinstance(piece, Text)]


def _part(piece: Piece, uris: Mapping[str, str]) -> types.Part:
    match piece:
        case Text(text=text):
            return types.Part(text=text)
        case Reference(uri=uri, mime_type=mime_type):
            return types.Part(file_data=types.FileData(file_uri=uri, mime_type=mime_type))
        case File(data=data, facts=facts, at=at) if at not in uris:
            return types.Part(inline_data=types.Blob(data=data, mime_type=facts.mime_type))
        case File(facts=facts, at=at):
            return types.Part(file_data=types.FileData(file_uri=uris[at], mime_type=facts.mime_type))


def _media_resolution(settings: Settings) -> types.MediaResolution | None:
    if settings.media_resolution is MediaResolution.UNSPECIFIED:
        return None
    return types.MediaResolution(settings.media_resolution.value)


def _thinking(name: str, settings: Settings) -> types.ThinkingConfig | None:
    """The level asked for, or the nearest that the model has; None where it cannot be told."""
    model = find_model(name)
    if settings.thinking is None:
        return None
    if model.thinking_levels:
        level = settings.thinking.value
        if level not in model.thinking_levels:
            level = model.thinking_levels[0]
        return types.ThinkingConfig(thinking_level=types.ThinkingLevel(level.upper()))
    if model.thinking_budget is not None:
        least, most = model.thinking_budget[0], model.thinking_budget[-1]
        return types.ThinkingConfig(thinking_budget=max(least, int(most * _BUDGET_SHARES[settings.thinking])))
    return None
