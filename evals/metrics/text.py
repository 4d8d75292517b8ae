"""How close one text is to another: exact match, ANLS, relaxed accuracy, CER and WER."""

import math
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

RELAXED_TOLERANCE = 0.05


def exact_match(said: str, accepted: Sequence[str]) -> bool:
    """Whether `said` is one of the `accepted` answers, white space at its ends aside."""
    return said.strip() in {text.strip() for text in accepted}


def anls(said: str, accepted: Sequence[str], *, threshold: float = 0.5) -> float:
    """Average Normalised Levenshtein Similarity of one answer, 0 to 1; a corpus' ANLS is the mean of these.

    The best over the accepted answers of 1 - distance / length of the longer, 0 where that distance share is
    above `threshold`; case and white space do not count. Biten et al., "Scene Text Visual Question Answering", 2019,
    equation 1, https://arxiv.org/abs/1905.13648, but for a share of just `threshold`, which it counts as 0: the DocVQA
    evaluation script, which published figures are from, keeps a similarity of 0.5. It strips and lowers as here.
    """
    shares = (Levenshtein.normalized_distance(_folded(said), _folded(text)) for text in accepted)
    return max((1 - share for share in shares if share <= threshold), default=0.0)


def relaxed_match(said: str, accepted: Sequence[str], *, tolerance: float = RELAXED_TOLERANCE) -> bool:
    """Relaxed accuracy of one answer: numbers may be off by `tolerance` of the right one, words must match.

    A trailing `%` divides by 100; case does not count. Masry et al., "ChartQA", 2022, section 5.1,
    https://arxiv.org/abs/2203.10244, as https://github.com/google-research/pix2struct `metrics.relaxed_correctness`.
    """
    return any(_relaxed(said.strip(), text.strip(), tolerance) for text in accepted)


def character_edits(said: str, right: str) -> int:
    """Characters to insert, delete or replace: CER's numerator. Its denominator is the number of characters in `right`.

    A corpus' character error rate is the sum of the first over the sum of the second; above 1 where much was invented.
    Morris et al., "From WER and RIL to MER and WIL", Interspeech 2004; the same for characters.
    """
    return Levenshtein.distance(said, right)


def word_edits(said: str, right: str) -> int:
    """Words to insert, delete or replace: WER's numerator. Its denominator is the number of words in `right`."""
    return Levenshtein.distance(said.split(), right.split())


def _relaxed(said: str, right: str, tolerance: float) -> bool:
    said_number, right_number = _number(said), _number(right)
    if said_number is not None and right_number:
        return abs(said_number - right_number) <= tolerance * abs(right_number)
    return said.lower() == right.lower()


def _number(text: str) -> float | None:
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
