"""What collections hold, and what is asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.embedder.index.fields import Field, MetadataValue
from services.embedder.index.filters import Filter
from services.embedder.models.model import Vectors
from services.embedder.vectors.precision import Precision

MAX_HIT_CHARACTERS = 4_096
"""Of an entry's text, what a hit has of it; all of it is searched."""


@dataclass(frozen=True)
class CollectionSpec:
    """What a collection is; it never changes."""

    name: str
    """1 to 64 letters, digits, `_` or `-`; alone among the tenant's."""
    model: str
    """The model of its vectors, as `models/NAME`."""
    revision: str
    dimensions: int
    late_interaction: bool
    """Whether an entry has several vectors, and not one."""
    precision: Precision
    """How numbers are kept; of one vector an entry, as float32 or float16."""
    pool_factor: int
    fields: tuple[Field, ...]
    created: datetime
    """Aware."""


class EntryKind(StrEnum):
    """What an entry is."""

    TEXT = "text"
    PICTURE = "picture"
    PAGE = "page"
    MOMENT = "moment"


@dataclass(frozen=True, eq=False)
class Entry:
    """A part of a document: what a search finds."""

    document_id: str
    part: int
    """Its number in the document, from 0."""
    kind: EntryKind
    digest: str
    """Of all that the document holds: one that is put again with the same is the same."""
    text: str
    """Full-text search reads it; may be empty."""
    metadata: Mapping[str, MetadataValue]
    vectors: Vectors
    """May be float16 where the collection keeps no more of a number."""
    page: int | None
    """1 or more."""
    start_s: float | None
    end_s: float | None
    picture: bytes | None
    """JPEG of at most 1,024 pixels a side."""
    width: int
    """The picture's own size, 0 of a text."""
    height: int


@dataclass(frozen=True)
class Query:
    """Vectors alone ask by meaning, words alone by BM25, both by reciprocal rank fusion."""

    vectors: Vectors | None
    """float32 [dimensions] or, of late interaction, [vectors, dimensions]; of any length."""
    words: str | None
    limit: int
    """Most hits, 1 or more."""
    filter: Filter | None = None
    exact: bool = False
    """Compares with every entry."""
    with_picture: bool = False


@dataclass(frozen=True, eq=False)
class Hit:
    """An entry that was found."""

    document_id: str
    part: int
    kind: EntryKind
    score: float
    """The dot product, MaxSim, BM25, or the sum of 1 / (60 + rank)."""
    text: str
    """Its first MAX_HIT_CHARACTERS."""
    metadata: Mapping[str, MetadataValue]
    page: int | None
    start_s: float | None
    end_s: float | None
    picture: bytes | None
    """None where it was not asked for, or there is none."""
    width: int
    height: int


@dataclass(frozen=True)
class CollectionState:
    """How much there is, and how far the index is."""

    documents: int
    entries: int
    indexed: int
    unindexed: int
    """Entries that are compared one by one."""
    recall: float | None
    """At 10, as it was last measured, 0 to 1; None before."""
    measured: datetime | None
    """When; aware."""
