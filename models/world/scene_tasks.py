"""What can be asked about a scene."""

import random

from models.world.example import Example, a, ask, listed
from models.world.scene import COLORS, SHAPES, Scene, Thing

LOC_BINS = 1024
# A question about a place wants a thing this far from where one ninth of the picture ends, in fractions of it.
CLEAR = 0.04
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)


def sample_scene_example(scene: Scene, rng: random.Random) -> Example:
    """One example about `scene`; kinds are balanced to what is hard to learn."""
    makers = (_color, _shape, _count, _position, _caption, _detect, _exists)
    return rng.choices(makers, weights=(3, 2, 4, 3, 3, 4, 1))[0](scene, rng)


def scene_caption(scene: Scene) -> str:
    """The things from left to right."""
    return listed([a(f"{thing.color} {thing.shape}") for thing in scene.things])


def plain_questions(scene: Scene) -> list[Example]:
    """The colour, counting and position questions about `scene`, plainly worded, that have one right answer."""
    shapes = [thing.shape for thing in scene.things]
    unique = [thing for thing in scene.things if shapes.count(thing.shape) == 1]
    examples = [Example("color", f"answer en what color is the {thing.shape}?", thing.color) for thing in unique]
    examples += [
        Example("count", f"answer en how many {shape}s are there?", str(shapes.count(shape))) for shape in SHAPES
    ]
    examples.append(Example("count", "answer en how many shapes are there?", str(len(shapes))))
    examples += [
        Example("position", f"answer en where is the {thing.shape}?", place)
        for thing in unique
        if (place := place_of(thing))
    ]
    return examples


def place_of(thing: Thing) -> str | None:
    """Which ninth of the picture `thing` is in the middle of; None close to where two meet."""
    if any(abs(middle - edge) < CLEAR for middle in thing.center for edge in (1 / 3, 2 / 3)):
        return None
    x, y = thing.center
    return PLACES[int(3 * y)][int(3 * x)]


def detect_answer(things: list[Thing], label: str) -> str:
    """The `<loc>` answer for `things`, each labelled `label`; empty when there are none."""
    return " ; ".join(f"{_locs(thing)} {label}" for thing in things)


def _color(scene: Scene, rng: random.Random) -> Example:
    shapes = [thing.shape for thing in scene.things]
    unique = [thing for thing in scene.things if shapes.count(thing.shape) == 1]
    if not unique:
        return _count(scene, rng)
    thing = rng.choice(unique)
    word = rng.choice(("color", "color", "colour"))
    return Example("color", ask(rng, f"what {word} is the {thing.shape}?"), thing.color)


def _shape(scene: Scene, rng: random.Random) -> Example:
    colors = [thing.color for thing in scene.things]
    unique = [thing for thing in scene.things if colors.count(thing.color) == 1]
    if not unique:
        return _exists(scene, rng)
    thing = rng.choice(unique)
    question = rng.choice((f"what shape is {thing.color}?", f"which shape is {thing.color}?"))
    return Example("shape", ask(rng, question), thing.shape)


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
    return Example("count", ask(rng, f"how many {noun} {ending}?"), str(number))


def _position(scene: Scene, rng: random.Random) -> Example:
    shapes = [thing.shape for thing in scene.things]
    placed = [thing for thing in scene.things if shapes.count(thing.shape) == 1 and place_of(thing)]
    if not placed:
        return _detect(scene, rng)
    thing = rng.choice(placed)
    name = thing.shape if rng.random() < 0.7 else f"{thing.color} {thing.shape}"
    return Example("position", ask(rng, f"where is the {name}?"), place_of(thing))


def _exists(scene: Scene, rng: random.Random) -> Example:
    present = {(thing.color, thing.shape) for thing in scene.things}
    color, shape = rng.choice(sorted(present))
    if rng.random() < 0.5:
        color, shape = rng.choice(sorted(COLORS)), rng.choice(SHAPES)
    answer = "yes" if (color, shape) in present else "no"
    return Example("exists", ask(rng, f"is there {a(f'{color} {shape}')}?"), answer)


def _caption(scene: Scene, rng: random.Random) -> Example:
    return Example("caption", "caption en", scene_caption(scene))


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
