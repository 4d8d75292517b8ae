"""Collections, and entries with vectors that are like one another as those of pictures and pages are."""

import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from services.embedder.index.catalogue import Catalogue
from services.embedder.index.entries import CollectionSpec, Entry, EntryKind
from services.embedder.index.fields import Field, FieldType, MetadataValue
from services.embedder.index.settings import IndexSettings
from services.embedder.models.model import Vectors
from services.embedder.vectors.precision import Precision

FIELDS = (
    Field("name", FieldType.STRING),
    Field("year", FieldType.INTEGER),
    Field("price", FieldType.NUMBER),
    Field("sold", FieldType.BOOLEAN),
    Field("seen", FieldType.TIMESTAMP),
)
SPEC = CollectionSpec(
    name="pictures",
    model="models/tiny-siglip",
    revision="r1",
    dimensions=32,
    late_interaction=False,
    precision=Precision.FLOAT32,
    pool_factor=1,
    fields=FIELDS,
    created=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
)
LATE_SPEC = replace(SPEC, name="pages", late_interaction=True, precision=Precision.FLOAT16)


@asynccontextmanager
async def catalogue(place: Path | str, **settings: object) -> AsyncIterator[Catalogue]:
    """One replica; without maintenance, unless its `run` is run."""
    opened = await Catalogue.open(IndexSettings(index_uri=str(place), **settings))
    try:
        yield opened
    finally:
        await opened.close()


def unit(vectors: np.ndarray) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count: int, dimensions: int, seed: int, *, centres: int = 50, spread: float = 0.7) -> Vectors:
    """[count, dimensions] around centres that are the same for every seed."""
    middles = unit(np.random.default_rng(0).normal(size=(centres, dimensions)))
    chosen = np.random.default_rng(seed)
    noise = chosen.normal(size=(count, dimensions)) * spread / np.sqrt(dimensions)
    return unit(middles[chosen.integers(0, centres, count)] + noise)


def entry(
    document_id: str,
    vectors: Vectors,
    *,
    part: int = 0,
    digest: str = "1",
    text: str = "",
    metadata: Mapping[str, MetadataValue] | None = None,
    kind: EntryKind = EntryKind.PICTURE,
    picture: bytes | None = None,
) -> Entry:
    return Entry(
        document_id=document_id,
        part=part,
        kind=kind,
        digest=digest,
        text=text,
        metadata=metadata or {},
        vectors=vectors,
        page=part + 1 if kind is EntryKind.PAGE else None,
        start_s=part * 2.5 if kind is EntryKind.MOMENT else None,
        end_s=part * 2.5 + 2.5 if kind is EntryKind.MOMENT else None,
        picture=picture,
        width=640,
        height=480,
    )


def document(document_id: str, parts: int, digest: str, spec: CollectionSpec = SPEC) -> list[Entry]:
    """A document of pages whose vectors are its own."""
    seed = zlib.crc32(f"{document_id} {digest}".encode())
    shape = (parts, 6, spec.dimensions) if spec.late_interaction else (parts, spec.dimensions)
    vectors = unit(np.random.default_rng(seed).normal(size=shape))
    return [
        entry(
            document_id, vectors[part], part=part, digest=digest, kind=EntryKind.PAGE, text=f"page {part} of {digest}"
        )
        for part in range(parts)
    ]
