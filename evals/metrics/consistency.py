"""Whether the same question in other words gets the same answer."""

from collections.abc import Sequence
from itertools import combinations


def agreeing_pairs(answers: Sequence[str]) -> tuple[int, int]:
    """Pairs of paraphrases that are answered alike, and all pairs; case and white space do not count.

    Paraphrase consistency is the sum of the first over the sum of the second, right or wrong as the answers may be:
    Elazar et al., "Measuring and Improving Consistency in Pretrained Language Models", 2021, section 3,
    https://arxiv.org/abs/2102.01017.
    """
    folded = [" ".join(answer.lower().split()) for answer in answers]
    pairs = list(combinations(folded, 2))
    return sum(a == b for a, b in pairs), len(pairs)
