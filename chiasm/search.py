"""Collections, what is put into them, and what is found. Times are in seconds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, overload

from chiasm.errors import ChiasmError
from chiasm.results import Route, Usage

if TYPE_CHECKING:
    from chiasm.images import ImageLike

MetadataValue: TypeAlias = str | int | float | bool | datetime
"""A datetime is aware."""


class FieldType(StrEnum):
    """What a metadata field holds."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"


class Precision(StrEnum):
    """How a collection keeps a vector's numbers."""

    UNSPECIFIED = "unspecified"
    """`FLOAT32` for one vector an item, `FLOAT16` for several."""
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    """For several vectors an item alone, as `BINARY`."""
    BINARY = "binary"


class SearchMode(StrEnum):
    """What is compared."""

    MEANING = "meaning"
    """Vectors."""
    WORDS = "words"
    """Words, by BM25: the query is a text alone."""
    HYBRID = "hybrid"
    """Both, their ranks put together."""


class Comparison(StrEnum):
    """How a metadata field is compared."""

    IN = "in"
    """It is one of the values."""
    NOT_IN = "not_in"
    """It is none of them."""
    LESS = "less"
    AT_MOST = "at_most"
    GREATER = "greater"
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Condition:
    """What a document's metadata must say."""

    field: str
    comparison: Comparison
    values: Sequence[MetadataValue]
    """One alone where the comparison is of order."""


Filter: TypeAlias = Sequence[Condition | Sequence[Condition]]
"""All must hold; of conditions in a sequence of their own, one."""


@dataclass(frozen=True)
class IndexState:
    """How far the index is that makes search fast; what it does not hold yet is found all the same."""

    indexed_entries: int
    unindexed_entries: int
    recall: float | None
    """Of the 10 entries nearest to sampled ones, the share that it found, 0 to 1; None before it was measured."""
    measured: datetime | None


@dataclass(frozen=True)
class Collection:
    """A set of documents whose vectors may be compared."""

    name: str
    """As `collections/NAME`."""
    model: str
    """The model of its vectors, as `models/NAME`."""
    revision: str
    late_interaction: bool
    """Whether an entry has several vectors, compared by MaxSim, and not one."""
    precision: Precision
    pool_factor: int
    """Of a page's vectors, how many became one; 1 for none."""
    fields: Mapping[str, FieldType]
    """The metadata that its documents may have."""
    documents: int
    entries: int
    """Pictures, pages, moments and texts in it: what a search finds."""
    index: IndexState | None
    """None in a list."""
    max_staleness_s: float
    """How long what another server indexed may stay unseen."""
    created: datetime


@dataclass(frozen=True)
class Document:
    """Something to be found: a text, or a file that is a picture, a PDF or a film."""

    id: str
    """The caller's name for it, alone in its collection, such as a path."""
    text: str = ""
    media: "ImageLike | None" = field(default=None, repr=False)
    """A path, bytes, an open binary file, a `PIL.Image`, an upload's name or an address; None for a text."""
    caption: str = ""
    """What is said of the file, for full-text search."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Indexed:
    """What became of a document."""

    document_id: str
    index: int
    """Which of the documents it is, 0 or more."""
    entries: int = 0
    """Pictures, pages, moments or texts that it has in the collection."""
    unchanged: bool = False
    """Whether it was there already, in all it holds."""
    error: ChiasmError | OSError | None = None
    """Why it is not stored: the server's word, or that its file cannot be read; None where it is."""


@dataclass(frozen=True)
class WordMatch:
    """Which part of a page a word of the query matched."""

    word: str
    score: float
    """What it adds to the hit's score, -1 to 1."""
    heat: tuple[tuple[float, ...], ...] = field(repr=False)
    """Its likeness to each patch of the page, in rows from the top, -1 to 1."""


@dataclass(frozen=True)
class Hit:
    """Something found."""

    document_id: str
    score: float
    """How like the query it is; higher is better."""
    page: int | None
    """1 or more; None but for a page."""
    start_s: float | None
    end_s: float | None
    """Of a film's scene; None elsewhere."""
    text: str
    metadata: Mapping[str, MetadataValue]
    picture: bytes | None = field(repr=False)
    """As JPEG of at most 1,024 pixels a side; None where it was not asked for, or the document is a text."""
    width: int
    height: int
    """Of the whole picture; 0 for a text."""
    words: tuple[WordMatch, ...] = field(default=(), repr=False)
    """Where asked for."""


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """What was found, best first."""

    hits: tuple[Hit, ...]
    model: str
    """The model of the query's vectors, as `models/NAME`; empty where words alone were compared."""
    revision: str
    usage: Usage
    request_id: str

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)


@dataclass(frozen=True)
class Citation:
    """Where a part of an answer comes from."""

    number: int
    """In the answer's text, as `[1]`."""
    hit: Hit
    quote: str
    """The words of it that say so; empty for what was seen."""


@dataclass(frozen=True)
class DroppedCitation:
    """A citation that does not hold."""

    number: int
    """As the model gave it."""
    hit: Hit | None
    """None where there is no such source."""
    reason: str
    """`no_such_source`, `not_used` or `not_supporting`."""
    detail: str


@dataclass(frozen=True)
class CitedAnswer:
    """An answer from a collection."""

    text: str
    """With `[1]` and so on behind what a citation supports."""
    citations: tuple[Citation, ...]
    dropped: tuple[DroppedCitation, ...]
    confidence: float | None
    """How likely it is right, 0 to 1; None when the model says nothing of it."""
    usage: Usage
    route: Route
    request_id: str
