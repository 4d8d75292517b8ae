"""How well what is sought ranks: recall@k and nDCG@k. A ranking lists each thing once, the best first."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence


def recall_at(ranking: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """The share of what is relevant among the first `k`, 0 to 1. With one relevant thing this is the hit rate R@k.

    Manning et al., "Introduction to Information Retrieval", 2008, section 8.4. Raises ValueError when nothing is
    relevant or `k` is below 1.
    """
    if not relevant or k < 1:
        raise ValueError("recall@k needs something relevant, and k of 1 or more")
    return len(set(ranking[:k]) & set(relevant)) / len(set(relevant))


def ndcg_at(ranking: Sequence[Hashable], gains: Mapping[Hashable, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first `k`, 0 to 1.

    `gains` says how relevant each thing is, 0 or more; what it lacks is worth 0. The gain at rank r counts
    1 / log2(r + 1): Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002, with the
    discount of Burges et al., 2005, as trec_eval and ViDoRe have it. Raises ValueError when nothing is worth more than
    0 or `k` is below 1.
    """
    best = _dcg(sorted(gains.values(), reverse=True)[:k])
    if k < 1 or best <= 0:
        raise ValueError("nDCG@k needs something relevant, and k of 1 or more")
    return _dcg([gains.get(thing, 0.0) for thing in ranking[:k]]) / best


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
