"""The Indexer with a real model and a real index: what documents hold together, and how long each may take."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.embedder.batching.cache import EmbeddedItem
from services.embedder.documents.documents import Documents
from services.embedder.documents.limits import DocumentLimits
from services.embedder.embedding import Media, Text
from services.embedder.index.collection import Collection
from services.embedder.index.entries import Query
from services.embedder.index.rows import rows_of
from services.embedder.indexing import Document, Indexer, Outcome
from services.embedder.vectors.precision import Precision
from services.runtime.media import ImageLimits
from tests.embedder.documents.files import pdf_saying
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, document
from tests.embedder.standing import Standing, standing

TIMEOUT_S = 600.0


class Watched:
    """The embedder that stands: notes whose parts it is given, and takes `seconds` of the loop's clock for each."""

    def __init__(self, stands: Standing, seconds: float = 0) -> None:
        self.fields: list[str] = []
        self._embedder = stands.embedder
        self.in_turn = stands.embedder.in_turn
        self._seconds = seconds
        self._late_s = 0.0
        self._time = asyncio.get_running_loop().time
        asyncio.get_running_loop().time = lambda: self._time() + self._late_s

    async def embed_item(self, served: object, item: Text | Media, **how: object) -> EmbeddedItem:
        self.fields.append(item.field)
        embedded = await self._embedder.embed_item(served, item, **how)
        self._late_s += self._seconds
        await asyncio.sleep(0)  # whose time is up is told so
        return embedded


@asynccontextmanager
async def collection_of(stands: Standing, folder: Path) -> AsyncIterator[Collection]:
    facts = stands.served.model.facts
    spec = replace(SPEC, model=stands.served.name, revision=facts.revision, dimensions=facts.dimensions)
    async with catalogue(folder) as opened:
        yield await opened.create("tenant", spec)


async def indexed(
    embedder: Watched, stands: Standing, collection: Collection, files: Sequence[bytes], *, at_once: int
) -> list[Outcome]:
    """Each file's outcome, by its number, which is its id and the name of its field."""

    async def each() -> AsyncIterator[Document]:
        for number, data in enumerate(files):
            yield Document(str(number), Media(data, str(number), ""), "", {})

    documents = Documents(DocumentLimits(ImageLimits()), processes=2)
    indexer = Indexer(embedder, documents, at_once=at_once, max_bytes=2**26, timeout_s=TIMEOUT_S)
    try:
        outcomes = [outcome async for outcome in indexer.index(stands.served, collection, each())]
    finally:
        await documents.close()
    return sorted(outcomes, key=lambda outcome: outcome.index)


async def test_documents_that_hold_too_much_together_go_one_after_the_other(
    siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.embedder.indexing._MAX_HELD_BYTES", 2**21)  # of some pages
    files = [pdf_saying([f"{page} of {book}" for page in range(12)], 300, 400 + book) for book in range(3)]
    async with standing(siglip) as stands, collection_of(stands, tmp_path) as collection:
        embedder = Watched(stands)
        outcomes = await indexed(embedder, stands, collection, files, at_once=3)
    assert [outcome.entries for outcome in outcomes] == [12] * 3
    turns = [field for i, field in enumerate(embedder.fields) if field != embedder.fields[i - 1] or not i]
    assert len(turns) == 3


async def test_a_document_may_take_longer_than_each_of_its_parts(siglip: Path, tmp_path: Path) -> None:
    book = pdf_saying([f"page {number}" for number in range(5)])
    async with standing(siglip) as stands, collection_of(stands, tmp_path) as collection:
        embedder = Watched(stands, seconds=TIMEOUT_S / 2)
        (outcome,) = await indexed(embedder, stands, collection, [book], at_once=1)
    assert (outcome.error, outcome.entries) == (None, 5)


async def test_hits_have_the_beginning_of_a_text_all_of_which_is_searched(tmp_path: Path) -> None:
    (entry,) = document("long", 1, "1")
    text = "word " * 2_000 + "aubergine"
    async with catalogue(tmp_path) as opened:
        collection = await opened.create("tenant", SPEC)
        await collection.put([[replace(entry, text=text)]])
        (hit,) = await collection.search(Query(None, "aubergine", 1))
    assert hit.text == text[:4_096]


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.INT8, Precision.BINARY])
def test_rows_are_the_same_of_vectors_that_waited_in_fewer_bits(precision: Precision) -> None:
    spec = replace(LATE_SPEC, precision=precision)
    entries = document("book", 40, "1", spec)
    halved = [replace(entry, vectors=entry.vectors.astype(np.float16)) for entry in entries]
    rounded = [replace(entry, vectors=entry.vectors.astype(np.float32)) for entry in halved]
    assert rows_of(halved, spec) == rows_of(rounded, spec)


def test_rows_take_little_beside_what_they_are_made_of() -> None:
    entries = [replace(entry, picture=bytes(2**16)) for entry in document("book", 1_000, "1", LATE_SPEC)]
    tracemalloc.start()
    try:
        table = rows_of(entries, LATE_SPEC)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert table.num_rows == 1_000
    assert table.column("part").to_pylist() == list(range(1_000))
    assert most < 2**19
