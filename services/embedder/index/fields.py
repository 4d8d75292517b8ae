"""The metadata of a collection's documents: what its fields hold, and how a table keeps them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

MetadataValue: TypeAlias = str | int | float | bool | datetime
"""Of FieldType.STRING, INTEGER, NUMBER, BOOLEAN and TIMESTAMP; a datetime is aware."""

StoredValue: TypeAlias = str | int | float | bool

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FieldType(StrEnum):
    """What a field holds."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Field:
    """A metadata field of a collection."""

    name: str
    type: FieldType

    @property
    def column(self) -> str:
        """Its column's name, which is none of the table's own whatever the field is called."""
        return f"m_{self.name}"


def to_stored(value: MetadataValue) -> StoredValue:
    """The value as it is kept and compared: a time in microseconds since 1970, which leaves no year out."""
    match value:
        case datetime():
            return (value - _EPOCH) // timedelta(microseconds=1)
        case float():
            return value + 0.0  # Arrow's order has -0.0 below 0.0
        case _:
            return value


def from_stored(value: StoredValue, type_: FieldType) -> MetadataValue:
    return _EPOCH + timedelta(microseconds=value) if type_ is FieldType.TIMESTAMP else value
