"""Pages of several vectors as late interaction has them, made up: vectors of words that a few pages share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.embedder.models.model import Vectors
from tests.embedder.index.making import unit

DIMENSIONS = 128
VECTORS, QUERY_VECTORS = 32, 16
WORDS, TOPIC_WORDS, TOPIC_PAGES = 4_000, 40, 25
"""A topic's pages are made of its words, and of others."""
OF_TOPIC = 0.7
SPREAD, QUERY_SPREAD = 0.6, 0.8
"""How far a vector lies from its word, and a query's from the page's."""
COMMON = 0.6
"""What all vectors have in common: those of a model lie in a cone."""

_BLOCK = 5_000


@dataclass(frozen=True)
class PageWorld:
    """`pages` pages, always the same."""

    pages: int

    def blocks(self) -> Iterator[list[tuple[int, Vectors]]]:
        """All pages, numbered, each float32 [VECTORS, DIMENSIONS]."""
        for begin in range(0, self.pages, _BLOCK):
            yield list(enumerate(self._block(begin), start=begin))

    def queries(self, count: int) -> Sequence[Vectors]:
        """Some vectors of a page each, as another hand would have written them."""
        chosen = np.random.default_rng(7)
        pages = self._block(0)[chosen.integers(0, min(_BLOCK, self.pages), count)]
        taken = [page[chosen.choice(VECTORS, QUERY_VECTORS, replace=False)] for page in pages]
        return [unit(vectors + _noise(chosen, vectors.shape, QUERY_SPREAD)) for vectors in taken]

    def nearest(self, queries: Sequence[Vectors], count: int) -> list[list[int]]:
        """Of each query the pages of greatest MaxSim."""
        scores = [
            np.concatenate([(block @ query.T).max(axis=1).sum(axis=1) for query in queries]).reshape(len(queries), -1)
            for block in map(self._block, range(0, self.pages, _BLOCK))
        ]
        return np.argsort(-np.concatenate(scores, axis=1), axis=1)[:, :count].tolist()

    def _block(self, begin: int) -> Vectors:
        shared = np.random.default_rng(0)
        words = unit(shared.normal(size=(WORDS, DIMENSIONS)))
        common = COMMON * unit(shared.normal(size=DIMENSIONS))
        topics = shared.integers(0, WORDS, (max(1, self.pages // TOPIC_PAGES), TOPIC_WORDS))
        chosen = np.random.default_rng([1, begin])
        count = min(_BLOCK, self.pages - begin)
        topic = topics[chosen.integers(0, len(topics), count)]
        own = np.take_along_axis(topic, chosen.integers(0, TOPIC_WORDS, (count, VECTORS)), axis=1)
        word = np.where(chosen.random((count, VECTORS)) < OF_TOPIC, own, chosen.integers(0, WORDS, (count, VECTORS)))
        return unit(unit(words[word] + _noise(chosen, (*word.shape, DIMENSIONS), SPREAD)) + common)


def _noise(chosen: np.random.Generator, shape: tuple[int, ...], length: float) -> Vectors:
    return chosen.standard_normal(shape, np.float32) * np.float32(length / np.sqrt(DIMENSIONS))
