"""A question in PaliGemma's prompt syntax and its right answer."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """`kind` groups examples for scoring; `prompt` has no image tokens and no newline."""

    kind: str
    prompt: str
    answer: str


def ask(rng: random.Random, question: str) -> str:
    """The prompt for `question`, spelled as one of the ways people have."""
    if rng.random() < 0.15:
        question = question[0].upper() + question[1:]
    if rng.random() < 0.15:
        question = question.removesuffix("?")
    return f"answer en {question}"


def a(noun: str) -> str:
    """`noun` with its indefinite article."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
