"""How well boxes fit: IoU, referring-expression accuracy, and F1 at an IoU after one-to-one matching.

Boxes are (x_min, y_min, x_max, y_max) in any one unit.
"""

from collections.abc import Sequence

import networkx
import numpy as np
from numpy.typing import ArrayLike, NDArray

REC_IOU = 0.5
"""Yu et al., "Modeling Context in Referring Expressions", 2016: a box counts when its IoU is above 0.5; at it, here."""


def iou_matrix(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each of [n, 4] boxes with each of [m, 4]: [n, m], each 0 to 1; 0 for empty boxes.

    Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010, section 4.2, on continuous coordinates.
    """
    first = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4)
    second = np.asarray(b, dtype=np.float64).reshape(1, -1, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    union = _areas(first) + _areas(second) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def iou(a: ArrayLike, b: ArrayLike) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    return float(iou_matrix([a], [b])[0, 0])


def rec_hit(found: ArrayLike, right: ArrayLike, *, at: float = REC_IOU) -> bool:
    """Referring-expression comprehension (RefCOCO): whether the box found fits the right one."""
    return iou(found, right) >= at


def matched_ious(found: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """The IoU of each of the [m, 4] right boxes with the found box it is paired with: [m], 0 for those left alone.

    Each box is in one pair at most; the pairs are those with the largest sum of IoU (maximum-weight matching).
    """
    ious = iou_matrix(found, right)
    graph = networkx.Graph()
    graph.add_weighted_edges_from(
        (("found", i), ("right", j), float(ious[i, j])) for i, j in zip(*np.nonzero(ious), strict=True)
    )
    best = np.zeros(ious.shape[1])
    for pair in networkx.max_weight_matching(graph):
        (_, i), (_, j) = sorted(pair)
        best[j] = ious[i, j]
    return best


def f1_at(found: Sequence[ArrayLike], right: Sequence[ArrayLike], *, at: float = REC_IOU) -> tuple[int, int]:
    """F1 as numerator and denominator, to be summed over pictures: (2 hits, boxes found + right boxes).

    A hit is a pair of `matched_ious` whose IoU is `at` or more.
    """
    hits = int((matched_ious(found, right) >= at).sum())
    return 2 * hits, len(found) + len(right)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)
