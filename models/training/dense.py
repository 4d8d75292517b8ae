"""Dense supervision of a vision tower: it learns to say, patch by patch, what is drawn there.

A tower that knows what and where things are is what makes models of this size learn the rest in
hours. SigLIP 2 adds dense losses to the contrastive one too (arXiv 2502.14786, section 2).
"""

import string
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models.training.pictures import GRID, IMAGE_TOKENS
from models.world.chart import MAX_VALUE, BarChart
from models.world.lettering import Text
from models.world.lexicon import MONTHS, WORDS
from models.world.page import Page
from models.world.scene import COLORS, SHAPES, Scene, Thing
from models.world.sign import Sign
from models.world.tasks import World

GLYPHS = string.ascii_letters
SLOTS = 3  # letters with their middle in one patch
EDGE_BINS = 64
VOCABULARY = (*WORDS, *MONTHS)
# How much of a patch's side a word or a bar must cover to count there.
COVER = 0.25
_NONE = -100


@dataclass(frozen=True)
class Targets:
    """What each patch shows: indices, 0 for nothing; `color` is -100 and `edges` NaN where no thing is."""

    shape: np.ndarray  # (patches,)
    color: np.ndarray  # (patches,)
    edges: np.ndarray  # (patches, 4): xmin ymin xmax ymax of the thing's box, in [0, 1]
    glyphs: np.ndarray  # (patches, SLOTS), from left to right
    words: np.ndarray  # (patches, len(VOCABULARY)): 1 where the word is
    value: np.ndarray  # (patches,): of the bar, or of the bar that the label names


class Heads(nn.Module):
    """One linear layer that reads every target off a patch's vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = (
            1 + len(SHAPES),
            len(COLORS),
            4 * EDGE_BINS,
            SLOTS * (1 + len(GLYPHS)),
            len(VOCABULARY),
            1 + MAX_VALUE,
        )
        self.linear = nn.Linear(width, sum(self.sizes))

    def losses(self, patches: torch.Tensor, targets: list[Targets]) -> dict[str, torch.Tensor]:
        """Losses by target for `patches` (batch, patches, width)."""
        shape, color, edges, glyphs, words, value = self.linear(patches).float().flatten(0, 1).split(self.sizes, dim=-1)
        wanted = {
            field.name: torch.from_numpy(np.concatenate([getattr(target, field.name) for target in targets]))
            for field in fields(Targets)
        }
        seen = wanted["color"] != _NONE
        if seen.any():
            edge_loss = _edge_loss(edges[seen], wanted["edges"][seen])
            color_loss = F.cross_entropy(color[seen], wanted["color"][seen])
        else:
            edge_loss = color_loss = patches.sum() * 0
        positive = torch.tensor(4.0)
        return {
            "shape": F.cross_entropy(shape, wanted["shape"]),
            "color": color_loss,
            "edges": edge_loss,
            "glyphs": _glyph_loss(glyphs.unflatten(-1, (SLOTS, -1)), wanted["glyphs"]),
            "words": 20 * F.binary_cross_entropy_with_logits(words, wanted["words"], pos_weight=positive),
            "value": 2 * F.cross_entropy(value, wanted["value"]),
        }


def _glyph_loss(logits: torch.Tensor, glyphs: torch.Tensor) -> torch.Tensor:
    """Letters count as much as the many places without one."""
    each = F.cross_entropy(logits.transpose(1, 2), glyphs, reduction="none")
    drawn = glyphs > 0
    return each[~drawn].mean() + (each[drawn].mean() if drawn.any() else 0)


def _edge_loss(logits: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against bins softened over their neighbours, so that near is better than far."""
    bins = torch.linspace(0, 1, EDGE_BINS)
    soft = torch.softmax(-(((edges.unsqueeze(-1) - bins) * (EDGE_BINS - 1)) ** 2) / 2, dim=-1)
    logprobs = logits.unflatten(-1, (4, EDGE_BINS)).log_softmax(-1)
    entropy = -(soft * (soft + 1e-9).log()).sum(-1)
    return (-(soft * logprobs).sum(-1) - entropy).mean()


def targets(world: World) -> Targets:
    """What each patch of `world`, drawn at any size, shows."""
    empty = Targets(
        shape=np.zeros(IMAGE_TOKENS, np.int64),
        color=np.full(IMAGE_TOKENS, _NONE),
        edges=np.full((IMAGE_TOKENS, 4), np.nan, np.float32),
        glyphs=np.zeros((IMAGE_TOKENS, SLOTS), np.int64),
        words=np.zeros((IMAGE_TOKENS, len(VOCABULARY)), np.float32),
        value=np.zeros(IMAGE_TOKENS, np.int64),
    )
    match world:
        case Scene(things=things):
            for thing in things:
                _mark_thing(empty, thing)
        case Sign(line=line):
            _mark_text(empty, line)
        case BarChart(title=title, bars=bars):
            _mark_text(empty, title)
            for bar in bars:
                patches = _mark_text(empty, bar.label)
                xmin, ymin, xmax, ymax = bar.box
                patches += _covered(xmin, ymin, xmax, ymax)
                empty.value[patches] = bar.value
                empty.words[patches, VOCABULARY.index(bar.label.text)] = 1
        case Page(heading=heading, words=words, figure=figure):
            for text in (heading, *words):
                _mark_text(empty, text)
            _mark_thing(empty, figure)
    return empty


def _mark_thing(into: Targets, thing: Thing) -> None:
    patches = _covered(*thing.box)
    into.shape[patches] = 1 + SHAPES.index(thing.shape)
    into.color[patches] = list(COLORS).index(thing.color)
    into.edges[patches] = thing.box


def _mark_text(into: Targets, text: Text) -> list[int]:
    """Mark `text` in the row of its middle line; the patches it covers there."""
    row = int(text.middle * GRID)
    for letter, x in text.letters():
        slots = into.glyphs[row * GRID + min(int(x * GRID), GRID - 1)]
        if (free := np.flatnonzero(slots == 0)).size and letter in GLYPHS:
            slots[free[0]] = 1 + GLYPHS.index(letter)
    patches = _covered(text.left, row / GRID, text.right, (row + 1) / GRID)
    if text.text in VOCABULARY:
        into.words[patches, VOCABULARY.index(text.text)] = 1
    return patches


def _covered(xmin: float, ymin: float, xmax: float, ymax: float) -> list[int]:
    """Indices of the patches that a box, in fractions of the picture, covers by more than `COVER` either way."""

    def along(low: float, high: float) -> range:
        first, last = int(low * GRID + 1 - COVER), int(high * GRID - COVER)
        return range(max(first, 0), min(last, GRID - 1) + 1)

    return [row * GRID + column for row in along(ymin, ymax) for column in along(xmin, xmax)]
