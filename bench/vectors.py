"""What vectors lose in less room: `python -m bench.vectors`.

Pages of tiny-colpali and pictures of tiny-siglip, from the evals' search suites, are pooled and quantised, and searched
by float32 queries. Prints nDCG@5 (pages) and recall@1 (pictures), the bytes that one takes, and how well its scores
still follow those of the whole vectors (their correlation over all pairs of query and page).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evals.metrics.ranking import ndcg_at, recall_at
from evals.suite import Suite
from evals.suites import tiny_search
from services.embedder.config import EmbedderSettings
from services.embedder.models.loading import load
from services.embedder.models.model import EmbeddingModel, Item, Vectors
from services.embedder.vectors.pooling import pool
from services.embedder.vectors.precision import Precision, quantize, restore

MODELS = Path(__file__).parent.parent / "models"
FACTORS = (1, 2, 3, 4, 8)
BATCH = 32


def main() -> None:
    model = load(str(MODELS / "tiny-colpali"), EmbedderSettings())
    suite = tiny_search.pages()
    pages, queries = embedded(model, suite)
    whole = scores(pages, queries)
    for factor in FACTORS:
        pooled = [pool(page, factor) for page in pages]
        for precision in Precision:
            kept, size = stored(pooled, precision)
            found = scores(kept, queries)
            ndcg = [ndcg_at(ranking, {sought: 1.0}, 5) for ranking, sought in ranked(suite, found)]
            name = f"pool_{factor}_{precision}"
            print(f"page_search_ndcg_at_5_{name} {np.mean(ndcg):.4f}")
            print(f"page_bytes_{name} {size:.0f}")
            print(f"page_score_correlation_{name} {correlation(whole, found):.4f}")

    model = load(str(MODELS / "tiny-siglip"), EmbedderSettings())
    suite = tiny_search.images()
    pictures, queries = embedded(model, suite)
    whole = scores(pictures, queries)
    for precision in Precision:
        kept, size = stored(pictures, precision)
        found = scores(kept, queries)
        recall = [recall_at(ranking, [sought], 1) for ranking, sought in ranked(suite, found)]
        print(f"image_search_recall_at_1_{precision} {np.mean(recall):.4f}")
        print(f"image_bytes_{precision} {size:.0f}")
        print(f"image_score_correlation_{precision} {correlation(whole, found):.4f}")


def embedded(model: EmbeddingModel, suite: Suite) -> tuple[list[Vectors], list[Vectors]]:
    """The suite's documents and queries."""
    pictures = [picture(model, document.picture()) for document in suite.documents]
    texts = [model.encode(item.prompts[0], document=False, field="") for item in suite.items]
    return batched(model, pictures), batched(model, texts)


def picture(model: EmbeddingModel, png: bytes) -> Item:
    image = Image.open(BytesIO(png)).convert("RGB")
    return model.picture(image.resize(model.picture_size(*image.size, field=""), model.facts.resample))


def batched(model: EmbeddingModel, items: Sequence[Item]) -> list[Vectors]:
    batches = (items[at : at + BATCH] for at in range(0, len(items), BATCH))
    return [vectors for batch in batches for vectors in model.embed(batch)]


def stored(documents: Sequence[Vectors], precision: Precision) -> tuple[list[Vectors], float]:
    """The documents as they come back from storage, and the bytes that one takes there."""
    quantized = [quantize(document, precision) for document in documents]
    sizes = [part.numbers.nbytes + (0 if part.scales is None else part.scales.nbytes) for part in quantized]
    back = partial(restore, precision=precision, dimensions=documents[0].shape[-1])
    return [back(part) for part in quantized], np.mean(sizes)


def scores(documents: Sequence[Vectors], queries: Sequence[Vectors]) -> NDArray[np.float32]:
    """[queries, documents], by MaxSim (https://arxiv.org/abs/2004.12832)."""
    rows = [np.atleast_2d(document) for document in documents]
    vectors, starts = np.concatenate(rows), np.cumsum([0, *map(len, rows[:-1])])
    dots = (np.atleast_2d(query) @ vectors.T for query in queries)
    return np.stack([np.maximum.reduceat(dot, starts, axis=1).sum(0) for dot in dots])


def ranked(suite: Suite, found: NDArray[np.float32]) -> Iterator[tuple[list[int], int]]:
    """For each query the documents' numbers, the best first, and that of the one that is sought."""
    numbers = {document.id: number for number, document in enumerate(suite.documents)}
    for item, row in zip(suite.items, found, strict=True):
        yield np.argsort(-row, kind="stable").tolist(), numbers[item.answers[0]]


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


if __name__ == "__main__":
    main()
