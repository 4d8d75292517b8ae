"""How involved a JSON schema is: what it takes to check a value by it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

MAX_STEPS = 10_000
MAX_PATTERNS = 32
MAX_PATTERN_CHARACTERS = 4_096
"""Of all patterns together."""

_REFERENCES = ("$ref", "$dynamicRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
# So often validators go through a part to learn what it evaluated: measured with jsonschema-rs, 2.7.
_TIMES_UNEVALUATED = 3
_STEPS_OF_A_PATTERN = 100  # a text is matched as soon as so many plain parts are checked


def check_involved(schema: dict[str, Any]) -> int:
    """The most steps that a value may take to check at each of its places, up to `MAX_STEPS`.

    Raises ValueError where they are more, or where it has more or longer patterns than are compiled.

    A part counts once for every way that leads to it, as validators take each: a few kilobytes of references can stand
    for more ways than anyone has time for. A part that leads back to itself counts there as one: validators remember
    what they found at a place, but not while they learn what was evaluated, so `unevaluatedProperties` and
    `unevaluatedItems` may not stand over such a part. For all this to show, references must begin with `#`, anchors
    must differ, and only the whole may have an `$id`.
    """
    try:
        _check_patterns(schema)
        steps = _Steps(schema).of(schema)
    except RecursionError:
        steps = MAX_STEPS + 1
    if steps > MAX_STEPS:
        raise ValueError(f"too involved: its references lead to more than {MAX_STEPS:,} parts")
    return steps


def _check_patterns(schema: dict[str, Any]) -> None:
    patterns = [pattern for part in _parts(schema) for pattern in _patterns(part)]
    if len(patterns) > MAX_PATTERNS:
        raise ValueError(f"too involved: it has {len(patterns):,} patterns; at most {MAX_PATTERNS} are taken")
    if (size := sum(map(len, patterns))) > MAX_PATTERN_CHARACTERS:
        raise ValueError(
            f"too involved: its patterns have {size:,} characters; at most {MAX_PATTERN_CHARACTERS:,} are taken"
        )


class _Steps:
    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._known: dict[int, int] = {}
        self._begun: set[int] = set()
        self._loops: set[int] = set()
        """Parts from which a way leads to one that leads back to itself."""
        self._anchored: dict[str, object] = {}
        for part in _parts(schema):
            if part is not schema and isinstance(part.get("$id"), str):
                raise ValueError("only the whole schema may have an `$id`")
            for anchor in _texts(part, _ANCHORS):
                if self._anchored.setdefault(anchor, part) is not part:
                    raise ValueError("two parts have the same anchor")

    def of(self, part: object) -> int:
        match part:
            case dict():
                parts = [*part.values(), *map(self._at, _texts(part, _REFERENCES))]
            case list():
                parts = part
            case _:
                return 0
        key = id(part)
        if key in self._begun:
            self._loops.add(key)
            return 1
        if key not in self._known:
            self._begun.add(key)
            steps = 1 + sum(map(self.of, parts))
            if isinstance(part, dict):
                steps += _STEPS_OF_A_PATTERN * len(_patterns(part))
            self._begun.remove(key)
            if not self._loops.isdisjoint(map(id, parts)):
                self._loops.add(key)
            if any(name in part for name in _UNEVALUATED):
                if key in self._loops:
                    raise ValueError("too involved: `unevaluated...` stands over a part that leads back to itself")
                steps *= _TIMES_UNEVALUATED
            self._known[key] = min(steps, MAX_STEPS + 1)
        return self._known[key]

    def _at(self, reference: str) -> object:
        """https://json-schema.org/draft/2020-12/json-schema-core#section-8.2"""
        if not reference.startswith("#"):
            raise ValueError("a reference leads out of the schema: it must begin with `#`")
        way = unquote(reference[1:])
        try:
            return self._pointed(way) if way.startswith("/") or not way else self._anchored[way]
        except (LookupError, ValueError, TypeError):
            raise ValueError("a reference leads to no part of the schema") from None

    def _pointed(self, way: str) -> object:
        """https://www.rfc-editor.org/rfc/rfc6901#section-4"""
        part: Any = self._schema
        for step in way.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            part = part[int(name)] if isinstance(part, list) else part[name]
        return part


def _parts(part: object) -> Iterator[dict[str, Any]]:
    """All objects of a schema."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _parts(inner)


def _texts(part: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [part[name] for name in names if isinstance(part.get(name), str)]


def _patterns(part: dict[str, Any]) -> list[str]:
    names = part.get("patternProperties")
    return [*_texts(part, ("pattern",)), *(names if isinstance(names, dict) else ())]
