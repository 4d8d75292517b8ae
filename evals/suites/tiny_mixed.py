"""What the tiny model knows and what is beyond it, mixed, in two parts: one to calibrate with, one to measure on."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from chiasm import Task
from evals import scorers
from evals.suite import Item, Measure, Picture, Suite
from evals.suites.damage import Damage, blurred, damaged, speckled, tilted
from evals.suites.tiny import ANSWER
from models.world import held_out
from models.world.example import Example
from models.world.held_out import Part
from models.world.lettering import Text
from models.world.scene import COLORS, GAP, GROUNDS, SHAPES, Scene, Thing
from models.world.scene_tasks import plain_questions
from models.world.sign import LETTERS, LINES, Sign
from models.world.streams import stream
from models.world.written_tasks import plain_chart_questions

_QUESTIONS = 2  # about a picture
_PLAIN_SCENES, _CROWDED_SCENES = 200, 40
_PLAIN_CHARTS, _SPECKLED_CHARTS, _BLURRED_CHARTS = 200, 100, 120
_PLAIN_SIGNS, _SPECKLED_SIGNS, _TILTED_SIGNS, _LONG_SIGNS = 480, 160, 80, 80
_CHART_SPECKLES, _SIGN_SPECKLES = 0.5, 0.3  # of the pixels' number
_BLUR = 2  # pixels
_TILT = 5  # degrees


def mixed(part: Part) -> Suite:
    """`dev` is to calibrate with, `test` to measure on: no picture is in both. Kinds come mixed, as in traffic."""
    items = [*_scenes(part), *_charts(part), *_signs(part)]
    return Suite(
        name="tiny-mixed" if part == "test" else f"tiny-mixed-{part}",
        about="Scenes, charts and signs as the tiny model knows them, and crowded, speckled, blurred, tilted, long.",
        items=stream("order", 0).sample(items, len(items)),
        score=scorers.exact("mixed_exact"),
        measures=(Measure("mixed_exact"),),
    )


SUITES: dict[str, Callable[[], Suite]] = {
    "tiny-mixed": lambda: mixed("test"),
    "tiny-mixed-dev": lambda: mixed("dev"),
}


def _scenes(part: Part) -> Iterator[Item]:
    for index, scene in enumerate(held_out.scenes(_PLAIN_SCENES, part)):
        yield from _asked("scene", index, part, damaged(scene), plain_questions(scene))
    for index in range(_CROWDED_SCENES):
        scene = _crowded(stream(f"crowded {part}", index))
        yield from _asked("crowded scene", index, part, damaged(scene), plain_questions(scene))


def _charts(part: Part) -> Iterator[Item]:
    charts = enumerate(held_out.charts(_PLAIN_CHARTS + _SPECKLED_CHARTS + _BLURRED_CHARTS, part))
    for index, chart in islice(charts, _PLAIN_CHARTS):
        yield from _asked("chart", index, part, damaged(chart), plain_chart_questions(chart))
    for index, chart in islice(charts, _SPECKLED_CHARTS):
        picture = damaged(chart, speckled(_CHART_SPECKLES, f"chart {part} {index}"))
        yield from _asked("speckled chart", index, part, picture, plain_chart_questions(chart))
    for index, chart in charts:
        yield from _asked("blurred chart", index, part, damaged(chart, blurred(_BLUR)), plain_chart_questions(chart))


def _signs(part: Part) -> Iterator[Item]:
    signs = enumerate(held_out.signs(_PLAIN_SIGNS + _SPECKLED_SIGNS + _TILTED_SIGNS, part))
    for index, sign in islice(signs, _PLAIN_SIGNS):
        yield _read("sign", index, sign)
    for index, sign in islice(signs, _SPECKLED_SIGNS):
        yield _read("speckled sign", index, sign, speckled(_SIGN_SPECKLES, f"sign {part} {index}"))
    for index, sign in signs:
        yield _read("tilted sign", index, sign, tilted(_TILT))
    for index in range(_LONG_SIGNS):
        yield _read("long sign", index, _long(stream(f"long sign {part}", index)))


def _asked(kind: str, index: int, part: Part, picture: Picture, examples: Sequence[Example]) -> Iterator[Item]:
    rng = stream(f"{kind} {part}", index)
    for number, example in enumerate(rng.sample(examples, min(_QUESTIONS, len(examples)))):
        yield Item(
            f"{kind} {index} {number}",
            f"{kind}: {example.kind}",
            Task.ANSWER,
            (example.prompt.removeprefix(ANSWER),),
            (picture,),
            (example.answer,),
            group=f"{kind} {index}",
        )


def _read(kind: str, index: int, sign: Sign, *damages: Damage) -> Item:
    return Item(f"{kind} {index}", kind, Task.READ_TEXT, ("",), (damaged(sign, *damages),), (sign.text,))


def _crowded(rng: random.Random) -> Scene:
    """More things than were ever trained on, and smaller ones."""
    wanted, things = rng.randint(5, 7), []
    while len(things) < wanted:
        size = rng.uniform(0.12, 0.2)
        xmin, ymin = rng.uniform(0.02, 0.98 - size), rng.uniform(0.02, 0.98 - size)
        thing = Thing(rng.choice(SHAPES), rng.choice(list(COLORS)), (xmin, ymin, xmin + size, ymin + size))
        if all(_apart(thing, other) for other in things):
            things.append(thing)
    return Scene(tuple(sorted(things, key=lambda thing: thing.center)), rng.choice(GROUNDS))


def _apart(one: Thing, other: Thing) -> bool:
    a, b = one.box, other.box
    return a[2] + GAP < b[0] or b[2] + GAP < a[0] or a[3] + GAP < b[1] or b[3] + GAP < a[1]


def _long(rng: random.Random) -> Sign:
    """More letters than were ever trained on."""
    size, text = 0.16, "".join(rng.choices(LETTERS, k=6))
    left = rng.uniform(0.02, 0.98 - Text(text, 0, 0, size).width)
    line = Text(text, left, (rng.randint(1, LINES - 2) + 0.5) / LINES, size)
    return Sign(line, rng.choice(list(COLORS)), rng.choice(GROUNDS))
