"""What waits for a model: a line for each kind of work, served in turn."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.embedder.models.model import EmbeddingModel, Item, Kind, Vectors

PROMPT_TURNS = 3
"""Batches of those who are not patient that go before one of those who are."""


class Lane(NamedTuple):
    """Items of one lane share batches."""

    model: EmbeddingModel
    kind: Kind
    bucket: Hashable
    patient: bool
    """Whether others go first."""


@dataclass(frozen=True, eq=False)
class Entry:
    """An item in a line."""

    item: Item
    tokens: int
    deadline: float
    """Of the loop's clock."""
    result: asyncio.Future[Vectors]


@dataclass(eq=False)
class _Line:
    entries: OrderedDict[Entry, None] = field(default_factory=OrderedDict)
    tokens: int = 0


class Lines:
    """Within a line first come, first served. Each line has one batch in its turn, so none waits for another's end;
    lines of patient callers have theirs when no other waits, or when others have had `PROMPT_TURNS`.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[Lane, _Line] = OrderedDict()
        self._prompt_turns = 0

    def __iter__(self) -> Iterator[tuple[Lane, int]]:
        """Those in which something waits, and how many tokens."""
        return ((lane, line.tokens) for lane, line in self._lines.items())

    def tokens(self, lane: Lane) -> int:
        """That wait in it."""
        return self._lines[lane].tokens if lane in self._lines else 0

    def waiting(self, model: EmbeddingModel) -> int:
        """Items of `model`."""
        return sum(len(line.entries) for lane, line in self._lines.items() if lane.model is model)

    def add(self, lane: Lane, entry: Entry) -> None:
        line = self._lines.setdefault(lane, _Line())
        line.entries[entry] = None
        line.tokens += entry.tokens

    def first(self, lane: Lane) -> Entry | None:
        line = self._lines.get(lane)
        return next(iter(line.entries)) if line else None

    def remove(self, lane: Lane, entry: Entry) -> None:
        """Does nothing where it has left already."""
        line = self._lines.get(lane)
        if line is None or entry not in line.entries:
            return
        del line.entries[entry]
        line.tokens -= entry.tokens
        if not line.entries:
            del self._lines[lane]

    def clear(self) -> list[Entry]:
        """All that waited."""
        entries = [entry for line in self._lines.values() for entry in line.entries]
        self._lines.clear()
        return entries

    def turn(self) -> Lane | None:
        """The lane whose turn it is, which has its next one behind the others; None where nothing waits."""
        patient = next((lane for lane in self._lines if lane.patient), None)
        lane = next((lane for lane in self._lines if not lane.patient), None)
        if lane is None or (patient is not None and self._prompt_turns >= PROMPT_TURNS):
            lane = patient
        self._prompt_turns = self._prompt_turns + 1 if patient is not None and lane is not patient else 0
        if lane is not None:
            self._lines.move_to_end(lane)
        return lane
