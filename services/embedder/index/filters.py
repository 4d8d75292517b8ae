"""Filters over metadata, and their SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import TypeAlias

from services.embedder.index.fields import Field, FieldType, MetadataValue, StoredValue, to_stored
from services.runtime.errors import InvalidArgument

_LEAST_INTEGER = -(2**63)
_TYPES = {
    FieldType.STRING: (str,),
    FieldType.INTEGER: (int,),
    FieldType.NUMBER: (float, int),
    FieldType.BOOLEAN: (bool,),
    FieldType.TIMESTAMP: (datetime,),
}


class Comparison(StrEnum):
    """How a field is compared; strings by code points."""

    IN = "in"
    NOT_IN = "not_in"
    LESS = "less"
    AT_MOST = "at_most"
    GREATER = "greater"
    AT_LEAST = "at_least"


_ORDERS = {Comparison.LESS: "<", Comparison.AT_MOST: "<=", Comparison.GREATER: ">", Comparison.AT_LEAST: ">="}


@dataclass(frozen=True)
class Condition:
    """What one field must say. A document without the field fits NOT_IN alone."""

    field: str
    comparison: Comparison
    values: tuple[MetadataValue, ...]


Filter: TypeAlias = tuple[tuple[Condition, ...], ...]
"""Clauses that all hold; of a clause's conditions at least one does."""


def to_sql(filter: Filter, fields: Sequence[Field]) -> str:
    """The filter as DataFusion's SQL; empty where it narrows nothing.

    Raises InvalidArgument naming the part at fault, such as `filter.clauses[0].conditions[1].values[0]`.
    """
    known = {field.name: field for field in fields}
    return " AND ".join(_clause(clause, known, f"filter.clauses[{i}]") for i, clause in enumerate(filter))


def any_of(column: str, values: Sequence[str]) -> str:
    """SQL: the column is one of the strings."""
    return f"{column} IN ({', '.join(map(_literal, values))})"


def _clause(clause: tuple[Condition, ...], known: Mapping[str, Field], path: str) -> str:
    conditions = [_condition(each, known, f"{path}.conditions[{i}]") for i, each in enumerate(clause)]
    return f"({' OR '.join(conditions)})"


def _condition(condition: Condition, known: Mapping[str, Field], path: str) -> str:
    field = known.get(condition.field)
    if field is None:
        raise InvalidArgument("the collection has no such field", field=f"{path}.field")
    values = [_checked(value, field.type, f"{path}.values[{i}]") for i, value in enumerate(condition.values)]
    literals = [_literal(value) for value in values]
    if condition.comparison is Comparison.IN:
        return f"{field.column} IN ({', '.join(literals)})"
    if condition.comparison is Comparison.NOT_IN:
        return f"({field.column} IS NULL OR {field.column} NOT IN ({', '.join(literals)}))"
    if field.type is FieldType.BOOLEAN:
        raise InvalidArgument("booleans have no order", field=f"{path}.comparison")
    if len(literals) != 1:
        raise InvalidArgument("order is compared with one value", field=f"{path}.values")
    return f"{field.column} {_ORDERS[condition.comparison]} {literals[0]}"


def _checked(value: MetadataValue, type_: FieldType, path: str) -> StoredValue:
    if type(value) not in _TYPES[type_]:
        raise InvalidArgument(f"the field holds a {type_}", field=path)
    if type_ is FieldType.NUMBER:
        if not isfinite(value):
            raise InvalidArgument("the number is not finite", field=path)
        value = float(value)
    return to_stored(value)


def _literal(value: StoredValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            # The parser reads the digits before the sign, and these are one more than it takes.
            return "(-9223372036854775807 - 1)" if value == _LEAST_INTEGER else str(value)
        case float():
            return repr(value)
        case _:
            return "'" + value.replace("'", "''") + "'"
