"""What late interaction must agree on: a page's patch and a query's word that mean the same thing point the same way.

The contrast among the pages of a batch says too little for a model of this size: shape and colour alone tell most
of them apart, and no word is learned. So each vector, of a patch or of a query's token, also names what it stands
for by its cosine with one learned direction per concept. The directions serve the training only.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from models.training import dense
from models.world.lexicon import WORDS
from models.world.page import Page, Query
from models.world.scene import COLORS, SHAPES

CONCEPTS = ("nothing", *WORDS, *COLORS, *SHAPES)
TEMPERATURE = 0.1


class Directions(nn.Module):
    """One direction of `dimensions` for each of `CONCEPTS`."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(len(CONCEPTS), dimensions))

    def loss(self, vectors: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of unit `vectors` (many, dimensions) against what they stand for (many, concepts).

        The vectors of nothing count as much as all others together.
        """
        logprobs = (vectors @ F.normalize(self.directions, dim=1).T / TEMPERATURE).log_softmax(-1)
        each = -(shares * logprobs).sum(-1)
        empty = shares[:, 0] > 0
        return each[empty].mean() + each[~empty].mean()


def of_page(page: Page) -> torch.Tensor:
    """(patches, concepts): what each patch shows, in shares that sum to 1."""
    marked = dense.targets(page)
    shown = np.zeros((len(marked.shape), len(CONCEPTS)), np.float32)
    shown[:, 1 : 1 + len(WORDS)] = marked.words[:, : len(WORDS)]
    drawn = np.flatnonzero(marked.shape)
    shown[drawn, 1 + len(WORDS) + marked.color[drawn]] = 1
    shown[drawn, len(WORDS) + len(COLORS) + marked.shape[drawn]] = 1
    shown[:, 0] = shown.sum(1) == 0
    return torch.from_numpy(shown / shown.sum(1, keepdims=True))


def of_query(query: Query, ids: list[int], tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """(tokens, concepts): what each token of `ids`, which hold the query's text, names."""
    shown = torch.zeros(len(ids), len(CONCEPTS))
    shown[:, 0] = 1
    for concept in (query.heading, query.word, query.color, query.shape):
        word = tokenizer.encode(f" {concept}", add_special_tokens=False)
        start = next(at for at in range(len(ids)) if ids[at : at + len(word)] == word)
        shown[start : start + len(word)] = F.one_hot(torch.tensor(CONCEPTS.index(concept)), len(CONCEPTS)).float()
    return shown
