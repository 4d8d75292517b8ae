"""Zero-shot classification: which of the caller's labels fits a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.embedder.embedding import Embedder, Media, Question, Text
from services.embedder.models.model import Facts
from services.embedder.models.served import Served
from services.runtime.errors import InvalidArgument

MAX_TEMPLATE_CHARACTERS = 1_024


class LabelMode(StrEnum):
    """How labels stand to each other."""

    INDEPENDENT = "independent"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True)
class LabelScore:
    label: str
    probability: float
    similarity: float
    """The dot product of the picture's and the label's vector."""


@dataclass(frozen=True)
class Classified:
    """The labels, the likeliest first, and what it took."""

    scores: tuple[LabelScore, ...]
    mode: LabelMode
    tokens: int
    media_tokens: int


def can_classify(facts: Facts) -> bool:
    """Whether a model was trained so that a dot product says how likely a label is."""
    return facts.logit_scale is not None


class Classifier:
    """Asks the model for the picture's vector and those of the labels, each in the model's sentence."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def classify(
        self,
        served: Served,
        image: Media,
        labels: Sequence[str],
        template: str,
        mode: LabelMode | None,
        *,
        deadline: float,
    ) -> Classified:
        """`template` may be empty, and `mode` None, for the model's own; `deadline` is of the loop's clock.

        Raises InvalidArgument naming the field, and what `Embedder.embed` raises.
        """
        facts = served.model.facts
        if not can_classify(facts):
            raise InvalidArgument(f"{served.name} compares no labels: name another model", field="model")
        if mode is LabelMode.INDEPENDENT and facts.logit_bias is None:
            raise InvalidArgument(f"{served.name} only tells labels apart: ask for the exclusive mode", field="mode")
        mode = mode or (LabelMode.EXCLUSIVE if facts.logit_bias is None else LabelMode.INDEPENDENT)
        texts = [
            Text(_in_sentence(label, template or facts.label_template), f"labels[{i}]")
            for i, label in enumerate(labels)
        ]
        question = Question(served.name, (image, *texts), document=False)
        embedded = await self._embedder.embed(served, question, deadline=deadline)
        picture, *sentences = embedded.vectors
        similarities = np.stack(sentences) @ picture
        probabilities = _probabilities(similarities, facts, mode)
        scores = map(LabelScore, labels, probabilities.tolist(), similarities.tolist())
        ranked = tuple(sorted(scores, key=lambda score: score.probability, reverse=True))
        return Classified(ranked, mode, embedded.tokens, embedded.media_tokens)


def check_template(template: str) -> None:
    """Raises InvalidArgument naming `template`."""
    if template and template.count("{}") != 1:
        raise InvalidArgument("it must hold `{}` once, where the label goes", field="template")
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise InvalidArgument(f"at most {MAX_TEMPLATE_CHARACTERS:,} characters are taken", field="template")


def _in_sentence(label: str, template: str) -> str:
    return template.replace("{}", label)


def _probabilities(similarities: NDArray[np.float32], facts: Facts, mode: LabelMode) -> NDArray[np.float64]:
    logits = similarities.astype(np.float64) * facts.logit_scale + (facts.logit_bias or 0.0)
    if mode is LabelMode.INDEPENDENT:
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()
