"""The embedder's index: 100,000 vectors with filters; pages of several vectors as they grow; replicas over S3."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from evals.figures import Figure
from services.embedder.index.collection import Collection
from services.embedder.index.effort import noted
from services.embedder.index.entries import CollectionSpec, Entry
from services.embedder.index.keeper import RETRAINED_QUIET, SEGMENTS_QUIET, segments
from services.embedder.index.schema import searched_column
from services.embedder.models.model import Vectors
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, clustered, entry, unit
from tests.embedder.index.sharing import share
from tests.s3_server import BUCKET, s3_server
from tests.shows.growth_chart import Growth, draw
from tests.shows.joined_replica import HITS, TENANT, Question, answer, joined
from tests.shows.page_world import DIMENSIONS as PAGE_DIMENSIONS
from tests.shows.page_world import PageWorld

RESULTS = Path(__file__).parents[2] / "bench/results"

ENTRIES, DIMENSIONS = 100_000, 768
QUERIES, ROUNDS = 100, 10
YEARS, FILTERED = 100, (30, 10, 1)
"""Years that the entries have, and how many of them a filter lets pass."""
CHEAP = 0.1
"""The share of entries whose price lies below a limit; it depends on what they are like, as a car's does."""

PAGES = (10_000, 30_000, 100_000)
PAGE_QUERIES = 30
DOCUMENTS, KILL_AFTER = 100, 100

_BLOCK = 1_000
_READY_TIMEOUT_S = 1_800
_LOOKED_S = 5
"""Longer than one of the blocks takes to be stored: what is being filled is not taken for what is at rest."""
_REST_S = 20


async def clustered_vectors() -> list[Figure]:
    """100,000 x 768 around 100 centres, with filters and without: recall and latency"""
    vectors = clustered(ENTRIES + QUERIES, DIMENSIONS, 1, centres=100)
    searched = await _searched("clustered", vectors[:ENTRIES], vectors[ENTRIES:])
    return [
        Figure("index_100k_recall_at_10", searched.recall, ">=", 0.99),
        Figure("index_100k_p50_ms", searched.p50_ms, "<", 5),
        Figure("index_100k_p99_ms", searched.p99_ms, "<", 20),
        Figure("index_100k_by_price_recall_at_10", searched.recall_by_price, ">=", 0.99),
    ]


async def uniform_vectors() -> list[Figure]:
    """the same with vectors of no structure at all, the hardest case: all are nearly as far"""
    vectors = unit(np.random.default_rng(1).normal(size=(ENTRIES + QUERIES, DIMENSIONS)))
    searched = await _searched("uniform", vectors[:ENTRIES], vectors[ENTRIES:])
    return [
        Figure("index_100k_uniform_recall_at_10", searched.recall, ">=", 0.99),
        Figure("index_100k_uniform_by_price_recall_at_10", searched.recall_by_price, ">=", 0.99),
    ]


async def pages() -> list[Figure]:
    """pages of 32 vectors, from 10,000 to 100,000: recall against exact MaxSim, latency, bytes on disk"""
    growth = [await _grown(count) for count in PAGES]
    await asyncio.to_thread(draw, growth, RESULTS / "pages.svg")
    return [Figure(f"index_pages_{each.pages}_recall_at_10", each.recall, ">=", 0.95) for each in growth]


async def replicas() -> list[Figure]:
    """two replicas over one S3 bucket write at once, one is killed in its midst; a third finds what was stored"""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as environment:
        shared = await share(f"s3://{BUCKET}/index", DOCUMENTS, KILL_AFTER, environment)
    return [
        Figure("index_replicas_documents_acknowledged", shared.acknowledged, "==", 2 * DOCUMENTS),
        Figure("index_replicas_documents_lost", shared.lost, "==", 0),
        Figure("index_replicas_documents_torn", shared.torn, "==", 0),
    ]


@dataclass(frozen=True)
class _Searched:
    """By a replica that has joined, over all rounds, without a filter and with those of years, together: recall at 10,
    and latencies; recall with that of the price."""

    recall: float
    p50_ms: float
    p99_ms: float
    recall_by_price: float


async def _searched(name: str, vectors: Vectors, queries: Vectors) -> _Searched:
    spec = replace(SPEC, dimensions=DIMENSIONS)
    years = np.arange(len(vectors)) % YEARS
    prices = vectors @ unit(np.random.default_rng(2).normal(size=DIMENSIONS))
    metadata = ({"year": int(year), "price": float(price)} for year, price in zip(years, prices, strict=True))
    documents = ([entry(str(i), vectors[i], metadata=each)] for i, each in enumerate(metadata))
    scores = queries @ vectors.T

    def below(field: str | None, limit: float, fits: np.ndarray) -> Question:
        return Question(field, limit, np.argsort(-np.where(fits, scores, -2), axis=1)[:, :HITS].tolist())

    questions = {"all": below(None, 0, np.full(len(vectors), True))}
    questions |= {f"{count} of {YEARS} years": below("year", count, years < count) for count in FILTERED}
    limit = float(np.quantile(prices, CHEAP))
    by_price = {"by price": below("price", limit, prices < limit)}
    async with _filled(spec, documents) as (collection, folder):
        for what, question in questions.items():
            own = await answer(collection, queries, question)
            _tell(f"{name}, by who has stored it, {what}", own.recall, own.took_ms)
        rounds = await joined(folder, spec.name, queries, questions, ROUNDS)
        (price,) = await joined(folder, spec.name, queries, by_price, 1)
    answers = [each for answers in rounds for each in answers.values()]
    recall, by_price_recall = float(np.mean([each.recall for each in answers])), price["by price"].recall
    took_ms = np.concatenate([each.took_ms for each in answers])
    _tell(f"{name}, by who has joined", recall, took_ms)
    _tell(f"{name}, by price", by_price_recall, price["by price"].took_ms)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return _Searched(round(recall, 4), round(p50, 1), round(p99, 1), round(by_price_recall, 4))


async def _grown(count: int) -> Growth:
    spec = replace(LATE_SPEC, dimensions=PAGE_DIMENSIONS)
    world = PageWorld(count)
    queries = world.queries(PAGE_QUERIES)
    best = await asyncio.to_thread(world.nearest, queries, HITS)
    documents = ([entry(str(i), page)] for block in world.blocks() for i, page in block)
    async with _filled(spec, documents) as (collection, folder):
        answered = await answer(collection, queries, Question(None, 0, best))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    _tell(f"{count} pages", answered.recall, answered.took_ms)
    p50, p99 = np.percentile(answered.took_ms, [50, 99])
    return Growth(count, round(answered.recall, 3), p50, p99, size)


@asynccontextmanager
async def _filled(spec: CollectionSpec, documents: Iterable[list[Entry]]) -> AsyncIterator[tuple[Collection, Path]]:
    """A collection that has the documents, all of them in its index, with nothing left for maintenance to do."""
    with tempfile.TemporaryDirectory() as folder:
        async with catalogue(folder, index_maintenance_s=_LOOKED_S) as replica:
            collection = await replica.create(TENANT, spec)
            began = time.monotonic()
            maintenance = asyncio.create_task(replica.run())
            for block in _blocks(documents):
                await collection.put(block)
            stored_s = time.monotonic() - began
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await _at_rest(collection)
            maintenance.cancel()
            with suppress(asyncio.CancelledError):
                await maintenance
            indexed_s = time.monotonic() - began - stored_s
            state = await collection.state()
            told = f"{state.entries} stored in {stored_s:.0f} s, indexed in {indexed_s:.0f} s"
            print(f"  {told}, measured recall {state.recall:.3f}", file=sys.stderr, flush=True)
            yield collection, Path(folder)


async def _at_rest(collection: Collection) -> None:
    """Returns once maintenance has found nothing to do for a while: what it has begun goes on when it is cancelled, and
    searches beside it are slower."""
    version, since = 0, time.monotonic()
    while not await _settled(collection) or time.monotonic() - since < _REST_S:
        await asyncio.sleep(1)  # maintenance tells nobody
        if version != (latest := await collection.table.version()):
            version, since = latest, time.monotonic()


async def _settled(collection: Collection) -> bool:
    """Whether all is in the index, which was trained on nearly all of it, is in few parts, and measured since."""
    state = await collection.state()
    column = searched_column(collection.spec)
    effort = await noted(collection.table, column)
    if state.unindexed or effort is None or not effort.probes:
        return False
    if await segments(collection.table, column) > SEGMENTS_QUIET:
        return False
    return effort.entries == state.entries < effort.trained * RETRAINED_QUIET


def _blocks(documents: Iterable[list[Entry]]) -> Iterator[list[list[Entry]]]:
    documents = iter(documents)
    while block := list(islice(documents, _BLOCK)):
        yield block


def _tell(what: str, recall: float, took_ms: Sequence[float]) -> None:
    p50, p99 = np.percentile(took_ms, [50, 99])
    print(f"  {what}: recall {recall:.3f}, p50 {p50:.1f} ms, p99 {p99:.1f} ms", file=sys.stderr, flush=True)


SHOWS = (clustered_vectors, uniform_vectors, pages, replicas)
