"""Document pages: a heading, three lines of two words, and one coloured shape."""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.world.lettering import Text
from models.world.lexicon import WORDS
from models.world.scene import COLORS, SHAPES, Thing, draw_shape

_INK = (30, 30, 30)


@dataclass(frozen=True)
class Page:
    """`words` from top to bottom and left to right."""

    heading: Text
    words: tuple[Text, ...]
    figure: Thing

    def draw(self, width: int, height: int) -> Image.Image:
        """An RGB picture of `width` x `height` pixels."""
        picture = Image.new("RGB", (width, height), (255, 255, 255))
        pen = ImageDraw.Draw(picture)
        for text in (self.heading, *self.words):
            text.draw(pen, width, height, _INK)
        draw_shape(pen, self.figure, width, height)
        return picture

    def answers(self, query: "Query") -> bool:
        """Whether the page holds all that the query names."""
        return (
            query.heading == self.heading.text
            and query.word in {word.text for word in self.words}
            and (query.color, query.shape) == (self.figure.color, self.figure.shape)
        )


@dataclass(frozen=True)
class Query:
    """What a reader remembers of a page."""

    heading: str
    word: str
    color: str
    shape: str

    @property
    def text(self) -> str:
        return f"the page about {self.heading} that mentions {self.word} beside a {self.color} {self.shape}"


def sample_page(seed: int) -> Page:
    """The page of `seed`; its seven words are all different."""
    rng = random.Random(seed)
    heading, *words = rng.sample(WORDS, 7)
    lines = []
    for i in range(3):
        left, middle = rng.uniform(0.05, 0.09), 0.30 + 0.16 * i + rng.uniform(-0.01, 0.01)
        first = Text(words[2 * i], left, middle, 0.1)
        lines += [first, Text(words[2 * i + 1], first.right + 0.05, middle, 0.1)]
    size = rng.uniform(0.2, 0.26)
    xmin, ymin = rng.uniform(0.04, 0.96 - size), 0.71
    figure = Thing(rng.choice(SHAPES), rng.choice(list(COLORS)), (xmin, ymin, xmin + size, ymin + size))
    return Page(Text(heading, rng.uniform(0.05, 0.2), 0.1, 0.13), tuple(lines), figure)


def sample_query(page: Page, rng: random.Random) -> Query:
    """A query that `page` answers."""
    return Query(page.heading.text, rng.choice(page.words).text, page.figure.color, page.figure.shape)
