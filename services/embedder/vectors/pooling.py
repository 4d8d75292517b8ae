"""Token pooling: fewer vectors a page, where several say nearly the same (https://arxiv.org/abs/2409.14683)."""

import numpy as np
from scipy.cluster.hierarchy import linkage

from services.embedder.models.model import Vectors

_NOTHING = 1e-6
"""A mean shorter than this has no direction that could be told from rounding."""


def pool(vectors: Vectors, factor: int) -> Vectors:
    """[n, dimensions], each of length 1, to [ceil(n / factor), dimensions]: the means of what is alike.

    Hierarchical clustering by Ward's method, as the paper does; between vectors of length 1 the squared Euclidean
    distance that it merges by is 2 - 2 * cosine. Means are of length 1 again, in the order of their first members.
    """
    wanted = -(-len(vectors) // factor)
    if wanted == len(vectors):
        return vectors
    return np.stack([_mean(vectors[members]) for members in _clusters(vectors, wanted)])


def _clusters(vectors: Vectors, wanted: int) -> list[list[int]]:
    """Exactly `wanted`, where scipy's `fcluster` gives fewer when distances are equal."""
    merges = linkage(vectors, method="ward")[: len(vectors) - wanted, :2].astype(int).tolist()
    clusters = {index: [index] for index in range(len(vectors))}
    # linkage names the cluster that its merge number m makes: n + m.
    for made, (one, other) in enumerate(merges, start=len(vectors)):
        clusters[made] = sorted(clusters.pop(one) + clusters.pop(other))
    return sorted(clusters.values())


def _mean(vectors: Vectors) -> Vectors:
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > _NOTHING else vectors[0]  # opposites have no mean
