"""The test split: pictures that nothing was trained on, with what is asked about each."""

import random
from collections.abc import Iterator
from itertools import count, islice

from models.world.chart import BarChart, sample_chart
from models.world.page import Page, Query, sample_page, sample_query
from models.world.scene import HELD_OUT_SEEDS, Scene, sample_scene
from models.world.sign import Sign, sample_sign
from models.world.tasks import World, caption

# Where each part begins; the tests of the code use seeds below.
_SCENES, _SIGNS, _CHARTS, _PAGES, _CAPTIONED = 900_000, 910_000, 920_000, 930_000, 940_000
_MOST = 10_000


def scenes(number: int) -> list[Scene]:
    return _part(sample_scene, _SCENES, number)


def signs(number: int) -> list[Sign]:
    return _part(sample_sign, _SIGNS, number)


def charts(number: int) -> list[BarChart]:
    return _part(sample_chart, _CHARTS, number)


def pages(number: int) -> tuple[list[Page], list[tuple[Query, int]]]:
    """Pages, and for each a query that it alone of them answers, with its index.

    A page that shares every such query with another one is left out of the queries.
    """
    drawn = _part(sample_page, _PAGES, number)
    asked = []
    for index, page in enumerate(drawn):
        query = sample_query(page, random.Random(_PAGES + index))
        if sum(other.answers(query) for other in drawn) == 1:
            asked.append((query, index))
    return drawn, asked


def captioned(number: int) -> list[tuple[World, str]]:
    """Pictures with captions that are all different: scenes are three in five, then signs and charts."""
    found: dict[str, World] = {}
    for world in _captionable():
        if len(found) == number:
            break
        found.setdefault(caption(world), world)
    return [(world, text) for text, world in found.items()]


def _captionable() -> Iterator[World]:
    samplers = (sample_scene, sample_scene, sample_scene, sample_sign, sample_chart)
    worlds = (samplers[i % 5](_CAPTIONED + i) for i in islice(count(), _MOST))
    return (world for world in worlds if caption(world))


def _part(sample, first: int, number: int) -> list:
    if not 0 < number <= _MOST:
        raise ValueError(f"number is {number}: the split holds {_MOST} of each kind")
    assert first + _MOST <= HELD_OUT_SEEDS
    return [sample(seed) for seed in range(first, first + number)]
