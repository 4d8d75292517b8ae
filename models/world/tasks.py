"""What can be asked about a scene, in PaliGemma's prompt syntax, and the right answer."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from models.world.scene import COLORS, SHAPES, Scene, Thing

LOC_BINS = 1024


@dataclass(frozen=True)
class Example:
    """`kind` groups examples for scoring; `prompt` has no image tokens and no newline."""

    kind: str
    prompt: str
    answer: str


def sample_example(scene: Scene, rng: random.Random) -> Example:
    """One example about `scene`, drawn by `rng`; kinds are balanced to what is hard to learn."""
    makers = (*6 * (_color,), *2 * (_shape,), *4 * (_count,), *2 * (_caption,), _detect, _exists)
    return rng.choice(makers)(scene, rng)


def every_question(scene: Scene) -> list[Example]:
    """The plain colour and counting questions about `scene` that have one right answer."""
    shapes = [thing.shape for thing in scene.things]
    examples = [
        Example("color", f"answer en what color is the {thing.shape}?", thing.color)
        for thing in scene.things
        if shapes.count(thing.shape) == 1
    ]
    examples += [
        Example("count", f"answer en how many {shape}s are there?", str(shapes.count(shape))) for shape in SHAPES
    ]
    examples.append(Example("count", "answer en how many shapes are there?", str(len(shapes))))
    return examples


def detect_answer(things: list[Thing], label: str) -> str:
    """The `<loc>` answer for `things`, each labelled `label`; empty when there are none."""
    return " ; ".join(f"{_locs(thing)} {label}" for thing in things)


def corpus(scenes: Iterator[Scene]) -> Iterator[str]:
    """Prompts and answers of `scenes`, for training a tokenizer; `<loc>` tokens left out."""
    rng = random.Random(0)
    for scene in scenes:
        example = sample_example(scene, rng)
        yield example.prompt
        if example.kind != "detect":
            yield example.answer


def _ask(rng: random.Random, question: str) -> str:
    if rng.random() < 0.15:
        question = question[0].upper() + question[1:]
    if rng.random() < 0.15:
        question = question.removesuffix("?")
    return f"answer en {question}"


def _color(scene: Scene, rng: random.Random) -> Example:
    shapes = [thing.shape for thing in scene.things]
    unique = [thing for thing in scene.things if shapes.count(thing.shape) == 1]
    if not unique:
        return _count(scene, rng)
    thing = rng.choice(unique)
    word = rng.choice(("color", "color", "colour"))
    return Example("color", _ask(rng, f"what {word} is the {thing.shape}?"), thing.color)


def _shape(scene: Scene, rng: random.Random) -> Example:
    colors = [thing.color for thing in scene.things]
    unique = [thing for thing in scene.things if colors.count(thing.color) == 1]
    if not unique:
        return _exists(scene, rng)
    thing = rng.choice(unique)
    question = rng.choice((f"what shape is {thing.color}?", f"which shape is {thing.color}?"))
    return Example("shape", _ask(rng, question), thing.shape)


def _count(scene: Scene, rng: random.Random) -> Example:
    kind = rng.choice(("all", "shape", "shape", "color"))
    if kind == "all":
        noun, number = "shapes", len(scene.things)
    elif kind == "shape":
        shape = _present_or_any(rng, [thing.shape for thing in scene.things], list(SHAPES))
        noun, number = f"{shape}s", sum(thing.shape == shape for thing in scene.things)
    else:
        color = _present_or_any(rng, [thing.color for thing in scene.things], list(COLORS))
        noun, number = f"{color} shapes", sum(thing.color == color for thing in scene.things)
    ending = rng.choice(("are there", "are there", "are in the picture"))
    return Example("count", _ask(rng, f"how many {noun} {ending}?"), str(number))


def _exists(scene: Scene, rng: random.Random) -> Example:
    present = {(thing.color, thing.shape) for thing in scene.things}
    color, shape = rng.choice(sorted(present))
    if rng.random() < 0.5:
        color, shape = rng.choice(sorted(COLORS)), rng.choice(SHAPES)
    article = "an" if color[0] in "aeiou" else "a"
    answer = "yes" if (color, shape) in present else "no"
    return Example("exists", _ask(rng, f"is there {article} {color} {shape}?"), answer)


def _caption(scene: Scene, rng: random.Random) -> Example:
    names = [f"{'an' if t.color[0] in 'aeiou' else 'a'} {t.color} {t.shape}" for t in scene.things]
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return Example("caption", "caption en", text)


def _detect(scene: Scene, rng: random.Random) -> Example:
    if rng.random() < 0.25:
        thing = rng.choice(scene.things)
        label = f"{thing.color} {thing.shape}"
        found = [t for t in scene.things if (t.color, t.shape) == (thing.color, thing.shape)]
        return Example("detect", f"detect {label}", detect_answer(found, label))
    labels = sorted({thing.shape for thing in scene.things}, key=lambda _: rng.random())[: rng.choice((1, 1, 1, 2))]
    parts = [detect_answer([t for t in scene.things if t.shape == label], label) for label in labels]
    return Example("detect", f"detect {' ; '.join(labels)}", " ; ".join(parts))


def _present_or_any(rng: random.Random, present: list[str], every: list[str]) -> str:
    return rng.choice(present) if rng.random() < 0.7 else rng.choice(every)


def _locs(thing: Thing) -> str:
    """Four tokens, ymin xmin ymax xmax, as big_vision encodes them: round(x * 1023)."""
    xmin, ymin, xmax, ymax = thing.box
    return "".join(f"<loc{round(v * (LOC_BINS - 1)):04d}>" for v in (ymin, xmin, ymax, xmax))
