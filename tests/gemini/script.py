"""What a call will answer, decided when it arrives: by a directive in the prompt, else by a text of its own.

A directive is a JSON object anywhere in the last text of the last content:

    How many dogs? {"emulate": {"answer": "three", "thinking_tokens": 100, "chunks": 5, "first_token_s": 0.2}}

Its fields are `Directive`'s. A directive's characters are prompt like any other. A misspelt one is a 400. It may
stand within a JSON string, too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from tests.gemini.config import Config, Fault, FaultKind
from tests.gemini.schema import least
from tests.gemini.wire import STATUS, ApiError, get

_OPENING = '{"emulate"'
_WORDS = "one two three four five six seven eight nine ten eleven twelve "
_LEVEL_TOKENS = {"MINIMAL": 0, "LOW": 16, "MEDIUM": 64, "HIGH": 256}
_WITHOUT_TEXT = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "OTHER"})


@dataclass(frozen=True)
class Directive:
    """What a prompt asks of the emulator."""

    answer: str | None = None
    answer_tokens: int | None = None
    """Of the answer; without `answer` a text of so many tokens is made, with it this count is reported."""
    thinking_tokens: int | None = None
    chunks: int | None = None
    first_token_s: float | None = None
    chunk_s: float | None = None
    """Between chunks; an unary call takes as long as the stream would."""
    finish: str = "STOP"
    """A `finishReason`; those of blocked answers have no text unless `answer` gives one."""
    block: str | None = None
    """A `promptFeedback.blockReason`: no candidates, the prompt alone is billed."""
    model_version: str | None = None
    """The model that answers in place of the one asked; one of the configuration."""
    fault: Fault | None = None
    id: str = ""
    """Makes a directive unlike others, for a fault's `times`."""

    source: str = ""
    """The directive as it stood."""


def directive_of(contents: list[Mapping[str, Any]]) -> Directive:
    """Raises ApiError where there is one that cannot be read."""
    for part in reversed(get(contents[-1], "parts", ())):
        text = part.get("text", "")
        start = text.find(_OPENING)
        if start >= 0:
            return _parse(text[start:])
        quoted = text.find(json.dumps(_OPENING)[1:-1])
        if quoted >= 0:
            return _parse(json.decoder.scanstring(text, quoted)[0])
    return Directive()


def _parse(text: str) -> Directive:
    try:
        wish, end = json.JSONDecoder().raw_decode(text)
        fields = wish["emulate"]
        if fault := fields.pop("fault", None):
            fault = Fault(**fault)
            if fault.kind not in get_args(FaultKind):
                raise ValueError(f"no fault is called {fault.kind}")
            if fault.code not in STATUS:
                raise ValueError(f"no error has the code {fault.code}")
        return Directive(**fields, fault=fault, source=text[:end])
    except (ValueError, TypeError, AttributeError) as error:
        raise ApiError(400, f"The emulator cannot read the directive: {error}") from None


@dataclass(frozen=True)
class Plan:
    """An answer to be given: tokens count from 0, texts may be empty."""

    texts: tuple[str, ...]
    """What each chunk says; one or more."""
    answer_tokens: int
    thinking_tokens: int
    finish: str
    block: str | None
    thought: str | None
    """What a call that includes thoughts is shown of them."""
    first_token_s: float
    chunk_s: float

    def answer_tokens_after(self, chunks: int) -> int:
        """Tokens of the answer in the first `chunks` chunks."""
        return self.answer_tokens * chunks // len(self.texts)


def plan(body: Mapping[str, Any], directive: Directive, fault: Fault | None, config: Config, limit: int) -> Plan:
    """The answer to a `generateContent` body by a model that writes `limit` tokens at most."""
    settings = get(body, "generationConfig", {})
    thinking_config = get(settings, "thinkingConfig", {})
    cap = min(int(get(settings, "maxOutputTokens", limit)), limit)
    thinking = _thinking(thinking_config, directive)
    text = _text(body, settings, directive)
    tokens = _tokens(text) if directive.answer_tokens is None else directive.answer_tokens
    finish = directive.finish
    if directive.block or (finish in _WITHOUT_TEXT and directive.answer is None):
        text, tokens = "", 0
    if directive.block:
        thinking = 0
    if fault and fault.kind == "malformed_json":
        text = '{"answer": "it breaks o'
        tokens = _tokens(text)
    if fault and fault.kind == "thinking_only":
        thinking = cap
    # Thinking comes first; what it leaves of the cap is the answer's.
    thinking = min(thinking, cap)
    kept = min(tokens, cap - thinking)
    if kept < tokens:
        text, tokens, finish = text[: len(text) * kept // tokens], kept, "MAX_TOKENS"
    chunks = config.chunks if directive.chunks is None else directive.chunks
    return Plan(
        texts=_split(text, max(1, min(chunks, len(text)))),
        answer_tokens=tokens,
        thinking_tokens=thinking,
        finish=finish,
        block=directive.block,
        thought="I think." if thinking and get(thinking_config, "includeThoughts") else None,
        first_token_s=config.first_token_s if directive.first_token_s is None else directive.first_token_s,
        chunk_s=config.chunk_s if directive.chunk_s is None else directive.chunk_s,
    )


def _thinking(config: Mapping[str, Any], directive: Directive) -> int:
    """As directed, else by the level asked; no more than the budget."""
    tokens = directive.thinking_tokens
    if tokens is None:
        tokens = _LEVEL_TOKENS.get(str(get(config, "thinkingLevel", "")).upper(), 0)
    budget = get(config, "thinkingBudget", -1)
    return min(tokens, budget) if budget >= 0 else tokens


def _text(body: Mapping[str, Any], settings: Mapping[str, Any], directive: Directive) -> str:
    if directive.answer is not None:
        return directive.answer
    if directive.answer_tokens is not None:
        characters = 4 * directive.answer_tokens
        return (_WORDS * (characters // len(_WORDS) + 1))[:characters]
    schema = get(settings, "responseJsonSchema") or get(settings, "responseSchema")
    if schema or get(settings, "responseMimeType") == "application/json":
        return json.dumps(least(schema or {}))
    asked = [text for part in get(get(body, "contents")[-1], "parts", ()) if (text := part.get("text"))]
    return f"You said: {asked[-1][-60:]}" if asked else "You said nothing."


def _tokens(text: str) -> int:
    return -(-len(text) // 4)


def _split(text: str, count: int) -> tuple[str, ...]:
    return tuple(text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count))
