"""Read PaliGemma's location answers: `<loc>x4 [<seg>x16] label ; ...` in boxes and segment codes.

Four `<locNNNN>` are ymin, xmin, ymax, xmax, each round(x * 1023) of the picture's side (big_vision).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOC_TOKENS = 1024
SEG_TOKENS = 128
CODES_PER_MASK = 16


@dataclass(frozen=True)
class Token:
    """`logprob` is the natural logarithm of the probability the model gave it."""

    id: int
    logprob: float


@dataclass(frozen=True)
class Vocabulary:
    """Where location tokens begin, what separates items, and how other ids become text."""

    first_loc: int
    first_seg: int
    eos: int
    decode: Callable[[list[int]], str]

    def loc(self, token: int) -> int | None:
        """0 to 1023, or None when `token` is no location token."""
        return token - self.first_loc if 0 <= token - self.first_loc < LOC_TOKENS else None

    def seg(self, token: int) -> int | None:
        """0 to 127, or None when `token` is no segment token."""
        return token - self.first_seg if 0 <= token - self.first_seg < SEG_TOKENS else None


@dataclass(frozen=True)
class Box:
    """Edges in pixels of the original picture, x to the right and y downwards."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Found:
    """One item. `codes` are its 16 segment codes, or empty; `confidence` is in (0, 1]."""

    label: str
    box: Box
    codes: tuple[int, ...]
    confidence: float


def read_locations(tokens: Sequence[Token], vocabulary: Vocabulary, width: int, height: int) -> list[Found]:
    """The items of an answer about a picture of `width` x `height` pixels, in its order.

    An item without exactly four location tokens, with a box of no area, or with a broken run of
    segment codes is left out: a cut or confused answer gives fewer items, never a wrong box.
    """
    found = []
    for item in _split(tokens, vocabulary):
        locs = [loc for token in item if (loc := vocabulary.loc(token.id)) is not None]
        codes = tuple(seg for token in item if (seg := vocabulary.seg(token.id)) is not None)
        if len(locs) != 4 or len(codes) not in (0, CODES_PER_MASK):
            continue
        y_min, x_min, y_max, x_max = (loc / (LOC_TOKENS - 1) for loc in locs)
        if y_min >= y_max or x_min >= x_max:
            continue
        found.append(
            Found(
                label=_label(item, vocabulary),
                box=Box(x_min * width, y_min * height, x_max * width, y_max * height),
                codes=codes,
                confidence=geometric_mean(item),
            )
        )
    return found


def geometric_mean(tokens: Sequence[Token]) -> float:
    """The geometric mean of the tokens' probabilities, in [0, 1]."""
    return min(1.0, math.exp(sum(token.logprob for token in tokens) / len(tokens)))


def _split(tokens: Sequence[Token], vocabulary: Vocabulary) -> list[list[Token]]:
    """An item begins at a location token that follows anything but a location token."""
    items: list[list[Token]] = []
    after_loc = False
    for token in tokens:
        is_loc = vocabulary.loc(token.id) is not None
        if is_loc and not after_loc:
            items.append([])
        if items and token.id != vocabulary.eos:
            items[-1].append(token)
        after_loc = is_loc
    return items


def _label(item: Sequence[Token], vocabulary: Vocabulary) -> str:
    words = [t.id for t in item if vocabulary.loc(t.id) is None and vocabulary.seg(t.id) is None]
    return vocabulary.decode(words).strip().removesuffix(";").strip()
