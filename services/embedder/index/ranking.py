"""What was found, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RRF_RANK = 60
"""https://doi.org/10.1145/1571941.1572114"""


@dataclass(frozen=True)
class Found:
    """A row's id, which is its own until the table is compacted, and how like the query it is."""

    row: int
    score: float


def best(rows: Sequence[int], scores: np.ndarray, limit: int) -> list[Found]:
    """Those of the highest scores, best first."""
    order = np.argsort(-scores, kind="stable")[:limit]
    return [Found(int(rows[i]), float(scores[i])) for i in order]


def fused(*lists: Sequence[Found]) -> list[Found]:
    """By reciprocal rank fusion, best first."""
    scores: dict[int, float] = {}
    for found in lists:
        for rank, each in enumerate(found, start=1):
            scores[each.row] = scores.get(each.row, 0.0) + 1 / (RRF_RANK + rank)
    return [Found(row, score) for row, score in sorted(scores.items(), key=lambda pair: -pair[1])]
