"""What a model answered to `prompt.of_all`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from services.runtime.errors import Aborted

MOST_STATEMENTS, MOST_MENTIONS = 64, 64
MOST_CHARACTERS = 4_096
"""Of a statement or a quote."""

_LIST = re.compile(r'"statements"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_JSON_BEGINS = ("{", "[", "```")
_MARKER = re.compile(r" ?\[(\d{1,9})\]")


@dataclass(frozen=True)
class Mention:
    """A source that the model names."""

    number: int
    """0 or more: as the model has it, there may be none."""
    quote: str


@dataclass(frozen=True)
class Statement:
    """A part of the answer."""

    text: str
    """Without markers; may be empty."""
    mentions: tuple[Mention, ...]
    """One a source."""


def statements_of(text: str, sources: int) -> tuple[Statement, ...]:
    """The statements, 1 or more: those that are whole where the JSON breaks off; where there is no JSON, all of `text`
    is one.

    Args:
        text: what the model wrote.
        sources: how many it was given.

    Raises:
        Aborted: it is JSON with no statement in it.
    """
    said = _LIST.search(text)
    if said is None and not text.lstrip().startswith(_JSON_BEGINS):
        return (_statement(text, [], sources),)
    items = islice(_items(text, said.end()), MOST_STATEMENTS) if said else ()
    statements = tuple(statement for item in items if (statement := _of_json(item, sources)))
    if not statements:
        raise Aborted("the model's answer broke off, or is not of the form that was asked for")
    return statements


def _items(text: str, at: int) -> Iterator[Any]:
    """Of a JSON list, whose brackets may not be closed, from `at` on."""
    decoder = json.JSONDecoder()
    while True:
        try:
            item, at = decoder.raw_decode(text, _BETWEEN.match(text, at).end())
        except (ValueError, RecursionError):
            return
        yield item


def _of_json(item: Any, sources: int) -> Statement | None:
    match item:
        case {"text": str(text), "sources": list(given)}:
            return _statement(text, [mention for mention in map(_mention, given[:MOST_MENTIONS]) if mention], sources)
        case {"text": str(text)}:
            return _statement(text, [], sources)
    return None


def _mention(source: Any) -> Mention | None:
    match source:
        case {"number": int(number)} if not isinstance(number, bool) and 0 <= number < 2**31:
            quote = source.get("quote")
            return Mention(number, plain(quote) if isinstance(quote, str) else "")
    return None


def _statement(text: str, mentions: list[Mention], sources: int) -> Statement:
    """The sources that the text marks itself are mentioned, too; `[0]` and the like are its own."""
    marked = []

    def unmarked(marker: re.Match[str]) -> str:
        if not 1 <= (number := int(marker[1])) <= sources:
            return marker[0]
        marked.append(Mention(number, ""))
        return ""

    text = _MARKER.sub(unmarked, text[:MOST_CHARACTERS])
    first = {mention.number: mention for mention in reversed([*mentions, *marked])}
    return Statement(plain(text), tuple(sorted(first.values(), key=lambda each: each.number)))


def plain(text: str) -> str:
    """What can be sent on: JSON may escape half a character, or one that steers a terminal."""
    cut = text[:MOST_CHARACTERS].encode(errors="replace").decode()
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in cut).strip()
