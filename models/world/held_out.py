"""The held-out splits: pictures that nothing was trained on, with what is asked about each.

"dev" is what a training looks at on its way, "test" what is measured at the end.
"""

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from models.world.chart import BarChart, sample_chart
from models.world.page import Page, Query, sample_page, sample_query
from models.world.scene import HELD_OUT_SEEDS, Scene, sample_scene
from models.world.sign import Sign, sample_sign
from models.world.streams import stream
from models.world.tasks import World, caption

Part = Literal["dev", "test"]
T = TypeVar("T")

# Where each kind begins; the tests of the code use seeds below.
_FIRST = {"dev": 700_000, "test": 900_000}
_SCENES, _SIGNS, _CHARTS, _PAGES, _CAPTIONED = 0, 10_000, 20_000, 30_000, 40_000
_MOST = 10_000


def scenes(number: int, part: Part = "test") -> list[Scene]:
    return _draw(sample_scene, part, _SCENES, number)


def signs(number: int, part: Part = "test") -> list[Sign]:
    return _draw(sample_sign, part, _SIGNS, number)


def charts(number: int, part: Part = "test") -> list[BarChart]:
    return _draw(sample_chart, part, _CHARTS, number)


def pages(number: int, part: Part = "test") -> tuple[list[Page], list[tuple[Query, int]]]:
    """Pages, and for each a query that it alone of them answers, with its index.

    A page that shares every such query with another one is left out of the queries.
    """
    drawn = _draw(sample_page, part, _PAGES, number)
    asked = []
    for index, page in enumerate(drawn):
        query = sample_query(page, stream("query", index))
        if sum(other.answers(query) for other in drawn) == 1:
            asked.append((query, index))
    return drawn, asked


def captioned(number: int, part: Part = "test") -> list[tuple[World, str]]:
    """Pictures with captions that are all different: scenes are three in five, then signs and charts."""
    found: dict[str, World] = {}
    for world in _captionable(part):
        if len(found) == number:
            break
        found.setdefault(caption(world), world)
    return [(world, text) for text, world in found.items()]


def _captionable(part: Part) -> Iterator[World]:
    samplers = (sample_scene, sample_scene, sample_scene, sample_sign, sample_chart)
    worlds = (samplers[i % 5](_FIRST[part] + _CAPTIONED + i) for i in range(_MOST))
    return (world for world in worlds if caption(world))


def _draw(sample: Callable[[int], T], part: Part, kind: int, number: int) -> list[T]:
    if not 0 < number <= _MOST:
        raise ValueError(f"number is {number}: the split holds {_MOST} of each kind")
    first = _FIRST[part] + kind
    assert first + _MOST <= HELD_OUT_SEEDS
    return [sample(seed) for seed in range(first, first + number)]
