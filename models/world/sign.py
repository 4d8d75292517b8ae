"""Pictures of one written word, or of a few letters that make none."""

import random
import string
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.world.lettering import Text
from models.world.lexicon import WORDS
from models.world.scene import COLORS, GROUNDS

LETTERS = string.ascii_uppercase
MAX_LETTERS = 4
SIZE = 0.17
LINES = 8  # places for the text, one above the other; the first and the last stay free


@dataclass(frozen=True)
class Sign:
    """One line of text in one colour."""

    line: Text
    color: str
    ground: tuple[int, int, int]

    @property
    def text(self) -> str:
        return self.line.text

    @property
    def is_word(self) -> bool:
        return self.text in WORDS

    def draw(self, width: int, height: int) -> Image.Image:
        """An RGB picture of `width` x `height` pixels."""
        picture = Image.new("RGB", (width, height), self.ground)
        self.line.draw(ImageDraw.Draw(picture), width, height, COLORS[self.color])
        return picture


def sample_sign(seed: int) -> Sign:
    """The sign of `seed`: a word of the lexicon, or 2 to `MAX_LETTERS` capitals."""
    rng = random.Random(seed)
    text = rng.choice(WORDS) if rng.random() < 0.5 else "".join(rng.choices(LETTERS, k=rng.randint(2, MAX_LETTERS)))
    left = rng.uniform(0.04, 0.96 - Text(text, 0, 0, SIZE).width)
    line = Text(text, left, (rng.randint(1, LINES - 2) + 0.5) / LINES, SIZE)
    return Sign(line, rng.choice(list(COLORS)), rng.choice(GROUNDS))
