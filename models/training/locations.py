"""How location tokens are learned: a place a pixel off is nearly right, and the model is told so.

Taken as 1,024 unrelated words they need far more samples than a small model ever sees.
"""

import math

import torch
from torch.nn import functional as F

from models.world.scene_tasks import LOC_BINS

SOFTNESS = 6.0  # bins: the spread of a target over its neighbours
# Location tokens are many; at full weight they drown the words.
WEIGHT = 0.3
_SCALES = ((8, 0.12), (24, 0.04), (64, 0.015))  # how many bumps over the range, and how wide each is


def smooth_embeddings(width: int, size: float) -> torch.Tensor:
    """(LOC_BINS, width): places near each other get vectors near each other; `size` is an entry's scale."""
    place = torch.linspace(0, 1, LOC_BINS).unsqueeze(1)
    bumps = torch.cat([torch.exp(-(((place - torch.linspace(0, 1, n)) / s) ** 2) / 2) / n**0.25 for n, s in _SCALES], 1)
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(width, bumps.shape[1], generator=generator))[0].T
    vectors = bumps @ directions
    return F.normalize(vectors, dim=1) * size * math.sqrt(width)


def answer_loss(logits: torch.Tensor, labels: torch.Tensor, first: int) -> dict[str, torch.Tensor]:
    """Losses of an answer's words and of its locations; `first` is the id of `<loc0000>`."""
    logprobs = logits.log_softmax(-1)
    is_place = (labels >= first) & (labels < first + LOC_BINS)
    words = -logprobs[~is_place].gather(1, labels[~is_place].unsqueeze(1)).mean()
    if not is_place.any():
        return {"words": words, "places": words * 0}
    away = torch.arange(LOC_BINS) - (labels[is_place] - first).unsqueeze(1)
    soft = torch.softmax(-((away / SOFTNESS) ** 2) / 2, dim=1)
    places = (soft * (soft.clamp_min(1e-12).log() - logprobs[is_place][:, first : first + LOC_BINS])).sum(1).mean()
    return {"words": words, "places": WEIGHT * places}
