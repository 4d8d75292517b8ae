"""How a demonstration reports: one line a figure, `name value target ok|short`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """A measured value and what it must be at least, at most, below or exactly."""

    name: str
    value: float
    relation: Literal[">=", "<=", "<", "=="]
    target: float

    @property
    def ok(self) -> bool:
        match self.relation:
            case ">=":
                return self.value >= self.target
            case "<=":
                return self.value <= self.target
            case "<":
                return self.value < self.target
            case "==":
                return self.value == self.target

    def __str__(self) -> str:
        return f"{self.name} {self.value:g} {self.relation}{self.target:g} {'ok' if self.ok else 'short'}"
