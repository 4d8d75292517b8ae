"""The embedder: the tiny world searched through the index, and by brute force over the same vectors beside it."""

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm import AsyncClient
from chiasm.search import Document
from evals.figures import Figure
from evals.metrics.ranking import ndcg_at, recall_at
from tests.shows.embedder_stack import TINY_COLPALI, TINY_SIGLIP, embedder
from tests.shows.world_corpus import pages, pictures

PICTURES, PAGES = 2_000, 500
SIGLIP, COLPALI = "models/tiny-siglip", "models/tiny-colpali"
AT_ONCE, CHUNK = 8, 100
INDEX_TIMEOUT_S = 300
WITHIN = 0.01
"""How far from brute force the index may be: one point."""


async def world() -> list[Figure]:
    """2,000 pictures by text and by picture, 500 pages by what a reader remembers"""
    environment = {
        "CHIASM_EMBEDDER_MODELS": f"{TINY_SIGLIP},{TINY_COLPALI}",
        "CHIASM_EMBEDDER_INDEX_MIN_ENTRIES": str(PAGES),
        "CHIASM_EMBEDDER_INDEX_MAINTENANCE_S": "1",
    }
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        async with embedder(Path(folder), environment) as address, AsyncClient(address) as client:
            return [*await _pictures(client), *await _pages(client)]


async def _pictures(client: AsyncClient) -> list[Figure]:
    corpus = pictures(PICTURES)
    await _index(client, "pictures", SIGLIP, {picture.id: picture.data for picture in corpus})
    ids = [picture.id for picture in corpus]
    captions = [picture.caption for picture in corpus]
    smaller = [_smaller(picture.data) for picture in corpus]
    vectors = np.stack(await _vectors(client, SIGLIP, images=[picture.data for picture in corpus]))
    figures = []
    for name, asked, queries in (
        ("text_to_image", captions, await _vectors(client, SIGLIP, texts=captions)),
        ("image_to_image", smaller, await _vectors(client, SIGLIP, images=smaller)),
    ):
        exact = [[ids[i] for i in order] for order in np.argsort(-(np.stack(queries) @ vectors.T), axis=1)[:, :10]]
        found = await _ask(client, "pictures", asked, 10)
        for k in (1, 10):
            brute, indexed = (
                _mean(recall_at(r, {i}, k) for r, i in zip(rs, ids, strict=True)) for rs in (exact, found)
            )
            figures.append(Figure(f"search_{name}_recall_at_{k}", indexed, ">=", brute - WITHIN))
    return figures


async def _pages(client: AsyncClient) -> list[Figure]:
    by_id, queries = pages(PAGES)
    await _index(client, "pages", COLPALI, by_id)
    texts = [query.text for query in queries]
    page_vectors = await _vectors(client, COLPALI, images=list(by_id.values()))
    query_vectors = await _vectors(client, COLPALI, texts=texts)
    ids = list(by_id)
    exact = [
        [ids[i] for i in np.argsort([-(query @ page.T).max(1).sum() for page in page_vectors])[:5]]
        for query in query_vectors
    ]
    found = await _ask(client, "pages", texts, 5)
    brute, indexed = (
        _mean(ndcg_at(ranking, {query.page_id: 1.0}, 5) for ranking, query in zip(rankings, queries, strict=True))
        for rankings in (exact, found)
    )
    return [Figure("search_pages_ndcg_at_5", indexed, ">=", brute - WITHIN)]


async def _index(client: AsyncClient, name: str, model: str, files: dict[str, bytes]) -> None:
    """Indexes the files, and waits until the index that makes search fast holds them all."""
    await client.create_collection(name, model=model)
    documents = (Document(file_id, media=data) for file_id, data in files.items())
    failed = [outcome async for outcome in client.index(name, documents) if outcome.error]
    assert not failed, failed[0]
    async with asyncio.timeout(INDEX_TIMEOUT_S):
        while (state := await client.get_collection(name)).index.indexed_entries < len(files):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    assert state.entries == len(files)


async def _ask(client: AsyncClient, name: str, queries: Sequence[str | bytes], limit: int) -> list[list[str]]:
    """The ids found for each query."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(query: str | bytes) -> list[str]:
        asked = {"text": query} if isinstance(query, str) else {"image": query}
        async with slots:
            return [hit.document_id for hit in await client.search(name, **asked, limit=limit)]

    return await asyncio.gather(*map(one, queries))


async def _vectors(client: AsyncClient, model: str, **items: list[str] | list[bytes]) -> list[NDArray[np.float32]]:
    ((kind, values),) = items.items()
    chunks = [values[first : first + CHUNK] for first in range(0, len(values), CHUNK)]
    return [np.asarray(vectors) for chunk in chunks for vectors in await client.embed(**{kind: chunk}, model=model)]


def _smaller(png: bytes) -> bytes:
    """The picture as somebody's thumbnail of it."""
    with Image.open(BytesIO(png)) as image:
        small = image.convert("RGB").resize((image.width * 2 // 3, image.height * 2 // 3))
    data = BytesIO()
    small.save(data, "JPEG", quality=70)
    return data.getvalue()


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


SHOWS = (world,)
