"""Suites of the tiny world: pictures that nothing was trained on, with what is asked about each."""

import io
import random
from collections.abc import Callable
from typing import Protocol

from PIL import Image

from chiasm import Box, Detection, Task
from evals import scorers
from evals.suite import Item, Measure, Picture, Suite
from models.world import held_out
from models.world.example import a
from models.world.scene import COLORS, SHAPES, Scene, Thing
from models.world.scene_tasks import plain_questions
from models.world.written_tasks import plain_chart_questions

SIDE = 256
"""Pixels of each side of a picture, as pictures were drawn for training before they were made smaller."""
ANSWER = "answer en "


class Drawable(Protocol):
    """A picture of the world."""

    def draw(self, width: int, height: int) -> Image.Image: ...


def drawn(world: Drawable) -> Picture:
    """Draws it when it is needed, as a PNG."""

    def png() -> bytes:
        out = io.BytesIO()
        world.draw(SIDE, SIDE).save(out, "PNG")
        return out.getvalue()

    return png


def answers() -> Suite:
    items = [
        _question(f"scene-{index}", drawn(scene), number, example.kind, example.prompt, example.answer)
        for index, scene in enumerate(held_out.scenes(200))
        for number, example in enumerate(plain_questions(scene))
    ]
    return Suite(
        name="tiny-answers",
        about="Colours, counts and positions of shapes, asked in plain words.",
        items=items,
        score=scorers.exact("answers_exact"),
        measures=(Measure("answers_exact", target=0.95),),
    )


def captions() -> Suite:
    items = [
        Item(f"caption-{index}", type(world).__name__.lower(), Task.CAPTION, ("",), (drawn(world),), (text,))
        for index, (world, text) in enumerate(held_out.captioned(300))
    ]
    shapes = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
    return Suite(
        name="tiny-captions",
        about="Captions of scenes, signs and charts, and the coloured shapes they invent (CHAIR).",
        items=items,
        score=scorers.caption("captions", {shape: shape for shape in shapes}),
        measures=(
            Measure("captions_exact", target=0.85),
            Measure("captions_chair_i", "lower"),
            Measure("captions_chair_s", "lower"),
        ),
    )


def detection() -> Suite:
    items = []
    for index, scene in enumerate(held_out.scenes(150)):
        shapes = list(dict.fromkeys(thing.shape for thing in scene.things))
        for labels in [[shape] for shape in shapes] + [shapes[:2]] * (len(shapes) > 1):
            boxes = tuple(_expected(thing) for thing in scene.things if thing.shape in labels)
            prompt = " ; ".join(labels)
            kind = "one label" if len(labels) == 1 else "two labels"
            items.append(
                Item(
                    f"scene-{index} {prompt}",
                    kind,
                    Task.DETECT,
                    (prompt,),
                    (drawn(scene),),
                    boxes=boxes,
                    group=f"scene-{index}",
                )
            )
    return Suite(
        name="tiny-detection",
        about="Boxes around shapes, by name.",
        items=items,
        score=scorers.detection("detection"),
        measures=(
            Measure("detection_mean_iou", target=0.7),
            Measure("detection_found_at_iou_50", target=0.9),
            Measure("detection_f1_at_iou_50"),
        ),
    )


def text() -> Suite:
    items = [
        Item(
            f"sign-{index}", "word" if sign.is_word else "letters", Task.READ_TEXT, ("",), (drawn(sign),), (sign.text,)
        )
        for index, sign in enumerate(held_out.signs(300))
    ]
    return Suite(
        name="tiny-text",
        about="Signs read aloud: words that were trained on, and letters that make none.",
        items=items,
        score=scorers.error_rates("text"),
        measures=(Measure("text_cer", "lower", target=0.08), Measure("text_wer", "lower")),
    )


def charts() -> Suite:
    items = [
        _question(f"chart-{index}", drawn(chart), number, example.kind, example.prompt, example.answer)
        for index, chart in enumerate(held_out.charts(150))
        for number, example in enumerate(plain_chart_questions(chart))
    ]
    return Suite(
        name="tiny-charts",
        about="Bar charts: each value within 5 %, title and labels exactly.",
        items=items,
        score=scorers.by_kind(
            {
                "chart value": scorers.relaxed("chart_values_relaxed"),
                "chart title": scorers.exact("chart_titles_exact"),
                "chart labels": scorers.exact("chart_labels_exact"),
            }
        ),
        measures=(
            Measure("chart_values_relaxed", target=0.85),
            Measure("chart_titles_exact"),
            Measure("chart_labels_exact"),
        ),
    )


def pope() -> Suite:
    """For each scene one thing that is there and one that is not, drawn at random as POPE's random setting does."""
    items = []
    for index, scene in enumerate(held_out.scenes(200)):
        rng = random.Random(index)
        present = {(thing.color, thing.shape) for thing in scene.things}
        absent = {(color, shape) for color in COLORS for shape in SHAPES} - present
        for answer, things in (("yes", present), ("no", absent)):
            color, shape = rng.choice(sorted(things))
            items.append(
                Item(
                    f"scene-{index} {answer}",
                    answer,
                    Task.ANSWER,
                    (f"is there {a(f'{color} {shape}')}?",),
                    (drawn(scene),),
                    (answer,),
                    group=f"scene-{index}",
                )
            )
    return Suite(
        name="tiny-pope",
        about="Is there a ...? Half of the things asked about are not there (POPE, random).",
        items=items,
        score=scorers.pope("pope"),
        measures=(
            Measure("pope_accuracy"),
            Measure("pope_precision"),
            Measure("pope_recall"),
            Measure("pope_f1"),
            Measure("pope_yes_ratio"),
        ),
    )


def consistency() -> Suite:
    items = [
        Item(
            f"scene-{index} {kind}",
            kind,
            Task.ANSWER,
            prompts,
            (drawn(scene),),
            (answer,),
            group=f"scene-{index}",
        )
        for index, scene in enumerate(held_out.scenes(100))
        for kind, prompts, answer in _paraphrased(scene)
    ]
    return Suite(
        name="tiny-consistency",
        about="The same question in four wordings.",
        items=items,
        score=scorers.consistency("paraphrase"),
        measures=(Measure("paraphrase_agreement"), Measure("paraphrase_exact")),
    )


SUITES: dict[str, Callable[[], Suite]] = {
    "tiny-answers": answers,
    "tiny-captions": captions,
    "tiny-detection": detection,
    "tiny-text": text,
    "tiny-charts": charts,
    "tiny-pope": pope,
    "tiny-consistency": consistency,
}


def _question(group: str, picture: Picture, number: int, kind: str, prompt: str, answer: str) -> Item:
    question = prompt.removeprefix(ANSWER)
    return Item(f"{group} {number}", kind, Task.ANSWER, (question,), (picture,), (answer,), group=group)


def _expected(thing: Thing) -> Detection:
    return Detection(thing.shape, Box(*(SIDE * edge for edge in thing.box)))


def _paraphrased(scene: Scene) -> list[tuple[str, tuple[str, ...], str]]:
    shapes = [thing.shape for thing in scene.things]
    shape = shapes[0]
    count = f"how many {shape}s are"
    found = [("count", _spelled(f"{count} there?", f"{count} in the picture?"), str(shapes.count(shape)))]
    unique = next((thing for thing in scene.things if shapes.count(thing.shape) == 1), None)
    if unique:
        wordings = _spelled(f"what color is the {unique.shape}?", f"what colour is the {unique.shape}?")
        found.append(("color", wordings, unique.color))
    return found


def _spelled(first: str, second: str) -> tuple[str, ...]:
    return first, second, first.capitalize(), second.removesuffix("?")
