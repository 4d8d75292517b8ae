"""YAML as plain values that know their lines. Of YAML it takes what settings need, and names are always text."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml

Place = tuple[str | int, ...]
"""The way to a value: names of mappings and positions in lists."""

_MAPPING = "tag:yaml.org,2002:map"
_SEQUENCE = "tag:yaml.org,2002:seq"


class YamlFault(ValueError):
    """What cannot be read, and the line where that shows, 1 or more."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """What a file says."""

    content: Any
    """Mappings with text as keys, lists, text, numbers, truth values, dates and None."""
    lines: Mapping[Place, int]
    """Where each value begins, or the name that it has; 1 or more."""

    def line(self, place: Place) -> int:
        """The line of what is at `place`, or of the nearest around it that is there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def path_name(place: Place) -> str:
    """`tasks.answer.candidates[0].model`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".")


def read(data: bytes) -> Document:
    """One document in UTF-8. Raises YamlFault: also for a name given twice, an alias, a tag and a number that is none.

    Aliases are refused because a few of them can stand for more than memory holds; and in YAML 1.1 the name `on` would
    be a truth value, so that names are taken as they are written.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFault(_line_at(data, error.start), "not UTF-8") from None
    try:
        loader = yaml.SafeLoader(text)
        reader = _Reader(loader)
        content = reader.value(loader.get_single_node(), ())
    except yaml.reader.ReaderError as error:
        raise YamlFault(_line_at(text.encode(), error.position), "a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(mark.line + 1 if mark else 1, error.problem or "not YAML") from None
    except RecursionError:
        raise YamlFault(1, "nested too deeply") from None
    return Document(content, reader.lines)


class _Reader:
    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._seen: set[int] = set()
        self.lines: dict[Place, int] = {}

    def value(self, node: yaml.Node | None, place: Place) -> Any:
        if node is None:
            return None
        line = self.lines.setdefault(place, node.start_mark.line + 1)
        if id(node) in self._seen:
            raise YamlFault(line, "an alias: write it out")
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode(tag=tag) if tag == _MAPPING:
                return self._mapping(node, place)
            case yaml.SequenceNode(tag=tag) if tag == _SEQUENCE:
                return [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node, line)
        raise YamlFault(line, f"the tag {node.tag} is not taken here")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlFault(line, "a name must be text")
            if key.value in content:
                raise YamlFault(line, f"{path_name((*place, key.value))} is given twice")
            self.lines[*place, key.value] = line
            content[key.value] = self.value(item, (*place, key.value))
        return content

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        # A plain word may be a number or a truth value, a quoted one is text: nothing else may be said of them.
        if node.tag != self._loader.resolve(yaml.ScalarNode, node.value, (node.style is None, node.style is not None)):
            raise YamlFault(line, f"the tag {node.tag} is not taken here")
        try:
            value = self._loader.construct_object(node)
        # `2026-99-99`, more digits than Python turns into a number, or a base-60 number beyond floats.
        except (ValueError, OverflowError) as error:
            raise YamlFault(line, f"not a value: {error}") from None
        if isinstance(value, float) and not isfinite(value):
            raise YamlFault(line, "not a number")
        return value


def _line_at(data: bytes, offset: int) -> int:
    return data[:offset].count(b"\n") + 1
