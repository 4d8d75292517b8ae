"""How well masks fit. Masks are boolean arrays [height, width] of one size."""

import numpy as np
from numpy.typing import ArrayLike


def mask_overlap(found: ArrayLike, right: ArrayLike) -> tuple[int, int]:
    """Pixels in both, and pixels in either.

    A corpus' cIoU (overall IoU) is the sum of the first over the sum of the second; Liu et al., "GRES: Generalized
    Referring Expression Segmentation", 2023, https://arxiv.org/abs/2306.00968. Raises ValueError when sizes differ.
    """
    first, second = np.asarray(found, dtype=bool), np.asarray(right, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"the masks differ in size: {first.shape} and {second.shape}")
    return int((first & second).sum()), int((first | second).sum())


def mask_iou(found: ArrayLike, right: ArrayLike) -> float:
    """Intersection over union, 0 to 1; 1 where both are empty, as in gIoU, which is its mean over pictures (GRES)."""
    both, either = mask_overlap(found, right)
    return both / either if either else 1.0
