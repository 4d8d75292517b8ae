"""What both sides are asked."""

import random
from dataclasses import dataclass

from PIL import Image

from models.world.tasks import sample_world

MAX_TOKENS = 24
MOST_WORDS = 60
HELD_OUT = 500_000
TEXT = "how many red green blue circles squares stars triangles are there in the picture caption en detect answer"


@dataclass(frozen=True)
class Question:
    text: str
    image: Image.Image


@dataclass(frozen=True)
class Answer:
    """Token ids, and the natural logarithm of each one's probability."""

    tokens: list[int]
    logprobs: list[float]


def questions(count: int, side: int) -> list[Question]:
    """Prompts of 1 to 60 words, each about another picture of `side` x `side` pixels; the same ones every time."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(TEXT.split(), k=rng.randint(1, MOST_WORDS))) for _ in range(count)]
    return [Question(text, sample_world(HELD_OUT + i).draw(side, side)) for i, text in enumerate(texts)]
