"""Which part of a page each word of a query matched (late interaction)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.embedder.models.model import Item, LateInteractionModel, Vectors


@dataclass(frozen=True, eq=False)
class WordMatch:
    """A word of the query, or a part of it, on a page."""

    word: str
    score: float
    """Its greatest dot product with a vector of the page's patches, -1 to 1."""
    heat: NDArray[np.float32]
    """Its dot product with each patch, [rows, columns] from the top left corner."""


Explanation: TypeAlias = Sequence[WordMatch]
"""The words of a query, in their order."""


def explain(
    model: LateInteractionModel, query: Item, query_vectors: Vectors, page_vectors: Vectors, size: tuple[int, int]
) -> Explanation:
    """Of a text and a page.

    Args:
        query: the text, as the model reads it, whose vectors are `query_vectors`, [tokens, dimensions].
        page_vectors: all of the page's, neither pooled nor quantized.
        size: the page's width and height, in any unit.
    """
    heats = model.patches(page_vectors, *size) @ query_vectors.T  # [rows, columns, tokens]
    return [
        WordMatch(word, float(heats[..., row].max()), np.ascontiguousarray(heats[..., row], np.float32))
        for row, word in model.words(query)
    ]
