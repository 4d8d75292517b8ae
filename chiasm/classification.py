"""Which labels fit a picture."""

from dataclasses import dataclass
from enum import StrEnum

from chiasm.results import Usage


class LabelMode(StrEnum):
    """How labels stand to each other."""

    UNSPECIFIED = "unspecified"
    """The model's own: `INDEPENDENT` where it was trained so (SigLIP), else `EXCLUSIVE` (CLIP)."""
    INDEPENDENT = "independent"
    """Each fits or not, whatever the others do."""
    EXCLUSIVE = "exclusive"
    """One fits: the probabilities add up to 1."""


@dataclass(frozen=True)
class LabelScore:
    """How well a label fits."""

    label: str
    probability: float
    """0 to 1."""
    similarity: float
    """The dot product of the picture's and the label's vector, -1 to 1."""


@dataclass(frozen=True)
class Classification:
    """The labels of a picture."""

    scores: tuple[LabelScore, ...]
    """The likeliest first."""
    model: str
    """As `models/NAME`."""
    revision: str
    mode: LabelMode
    usage: Usage
    request_id: str
