"""Random streams that have nothing to do with each other, though they come of one seed."""

import random


def stream(purpose: str, seed: int) -> random.Random:
    """The stream of `seed` for `purpose`.

    Two `random.Random(seed)` give the same numbers: what is drawn from the one then says what is drawn from the other.
    """
    return random.Random(f"{purpose} {seed}")
