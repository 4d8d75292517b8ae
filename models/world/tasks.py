"""Any picture of the tiny world, drawn from a seed, with what can be asked about it."""

import random
from collections.abc import Iterator

from models.world.chart import BarChart, sample_chart
from models.world.example import Example
from models.world.page import Page, sample_page
from models.world.scene import Scene, sample_scene
from models.world.scene_tasks import sample_scene_example, scene_caption
from models.world.sign import Sign, sample_sign
from models.world.streams import stream
from models.world.written_tasks import (
    chart_caption,
    page_caption,
    sample_chart_example,
    sample_page_example,
    sample_sign_example,
    sign_caption,
)

World = Scene | Sign | BarChart | Page

_KINDS = (*11 * (sample_scene,), *8 * (sample_sign,), *4 * (sample_chart,), sample_page)


def sample_world(seed: int) -> World:
    """The picture of `seed`; scenes are nearly half of all, signs a third."""
    return stream("kind", seed).choice(_KINDS)(seed)


def sample_example(world: World, rng: random.Random) -> Example:
    """One example about `world`, drawn by `rng`."""
    match world:
        case Scene():
            return sample_scene_example(world, rng)
        case Sign():
            return sample_sign_example(world, rng)
        case BarChart():
            return sample_chart_example(world, rng)
        case Page():
            return sample_page_example(world, rng)


def caption(world: World) -> str | None:
    """What the picture shows; None for a sign whose letters make no word."""
    match world:
        case Scene():
            return scene_caption(world)
        case Sign():
            return sign_caption(world) if world.is_word else None
        case BarChart():
            return chart_caption(world)
        case Page():
            return page_caption(world)


def corpus(worlds: Iterator[World]) -> Iterator[str]:
    """Prompts and answers about `worlds`, for training a tokenizer.

    Left out are `<loc>` tokens and letters that make no word, which are to stay single tokens.
    """
    rng = random.Random(0)
    for world in worlds:
        example = sample_example(world, rng)
        yield example.prompt
        if example.kind != "detect" and not (isinstance(world, Sign) and not world.is_word):
            yield example.answer
