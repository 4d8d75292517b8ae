"""Two sets of answers side by side."""

from dataclasses import dataclass

from tests.paligemma.parity.questions import Answer


@dataclass(frozen=True)
class Parity:
    """`worst` is the greatest difference of two log-probabilities of the same token, over the exact answers."""

    asked: int
    exact: int
    worst: float


def compare(ours: list[Answer], theirs: list[Answer]) -> Parity:
    """Answer by answer; one is exact when all its tokens are the same."""
    exact = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.tokens == b.tokens]
    differences = [abs(x - y) for a, b in exact for x, y in zip(a.logprobs, b.logprobs, strict=True)]
    return Parity(len(ours), len(exact), max(differences, default=float("inf")))
