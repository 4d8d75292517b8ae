"""Conditions on metadata as they are typed: `colour=red`, `pages>=3`, `colour=red|blue`."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from chiasm.errors import InvalidArgument
from chiasm.search import Comparison, Condition, FieldType, MetadataValue

_CONDITION = re.compile(r"\s*([a-z][a-zA-Z0-9_]*)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARISONS = {
    "=": Comparison.IN,
    "!=": Comparison.NOT_IN,
    "<": Comparison.LESS,
    "<=": Comparison.AT_MOST,
    ">": Comparison.GREATER,
    ">=": Comparison.AT_LEAST,
}
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def conditions(texts: Sequence[str], fields: Mapping[str, FieldType]) -> list[Condition]:
    """What must all hold of documents with these fields. Raises InvalidArgument saying what is wrong with which."""
    return [_condition(text, fields) for text in texts]


def _condition(text: str, fields: Mapping[str, FieldType]) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise _wrong(f"{text!r} is none: write FIELD=VALUE, or with !=, <, <=, > or >=")
    name, sign, values = match.groups()
    if name not in fields:
        known = f"; it has {', '.join(sorted(fields))}" if fields else " at all"
        raise _wrong(f"the collection has no field {name!r}{known}")
    comparison = _COMPARISONS[sign]
    pieces = values.split("|") if comparison in (Comparison.IN, Comparison.NOT_IN) else [values]
    return Condition(name, comparison, [_value(piece.strip(), name, fields[name]) for piece in pieces])


def _value(text: str, name: str, kind: FieldType) -> MetadataValue:
    try:
        match kind:
            case FieldType.INTEGER:
                return int(text)
            case FieldType.NUMBER:
                return float(text)
            case FieldType.BOOLEAN:
                return _TRUTH[text.lower()]
            case FieldType.TIMESTAMP:
                moment = datetime.fromisoformat(text)
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, KeyError):
        raise _wrong(f"{name!r} is a {kind}, and {text!r} is none") from None
    return text


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="FIELD_INVALID", field="where")
