"""What a suite of questions is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chiasm import AsyncClient, Detection, Options, Task

Picture = Callable[[], bytes]
"""Draws or reads a picture, as PNG, JPEG or WebP. Blocks."""
Scores = Mapping[str, tuple[float, float]]
"""What an item adds to each measure: numerator and denominator. A mean is the sum of the first over that of the second,
so a ratio of counts such as CER, F1 or cIoU is right over a whole corpus too."""


@dataclass(frozen=True)
class Item:
    """A question, asked in one or more wordings about the same pictures, and what is right."""

    id: str
    """Unique in its suite, and the same in every run."""
    kind: str
    """What the report groups by."""
    task: Task
    prompts: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    answers: tuple[str, ...] = ()
    """Accepted texts, or the ids of what should rank first."""
    boxes: tuple[Detection, ...] = ()
    """What should be found, in pixels of the first picture."""
    options: tuple[str, ...] = ()
    """Of a multiple-choice question."""
    group: str = ""
    """Items of one group, such as the questions about a picture, are resampled together."""


@dataclass(frozen=True)
class Reply:
    """What a server said to one prompt, and what that took."""

    text: str = ""
    detections: tuple[Detection, ...] = ()
    ranking: tuple[str, ...] = ()
    """Ids of what was searched, the best first."""
    model: str = ""
    revision: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int = 0
    confidence: float | None = None
    """How likely the server thinks it right, 0 to 1; None where it does not say."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Document:
    """A picture to be found."""

    id: str
    picture: Picture


Ask = Callable[[Item], Awaitable[tuple[Reply, ...]]]
"""Asks a server about an item: one reply a prompt. Raises a ChiasmError."""


@dataclass(frozen=True)
class Measure:
    """A number that a suite ends in."""

    name: str
    better: Literal["higher", "lower"] = "higher"
    target: float | None = None
    """At least this where higher is better, below it where lower is."""


@dataclass(frozen=True)
class Suite:
    """Items, how each is asked and scored, and what is measured."""

    name: str
    about: str
    """One line for a reader."""
    items: Sequence[Item]
    score: Callable[[Item, Sequence[Reply]], Scores]
    """Of the replies to all the item's prompts; of none at all where the item failed, which must count as wrong."""
    measures: tuple[Measure, ...]
    """The first is the one that failures are ranked by."""
    max_tokens: int | None = None
    """Most tokens of a reply, 1 or more; None leaves it to the server."""
    documents: Sequence[Document] = ()
    """What is searched."""
    prepare: Callable[[AsyncClient, Sequence[Document], Options], Awaitable[Ask]] | None = None
    """Readies the server for the questions, such as a corpus to be searched; None asks a model about each item."""
