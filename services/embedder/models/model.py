"""What the service needs of a model, whatever its family. Nothing here loads a model library."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.v1.errors_pb2 import ERROR_REASON_FIELD_REQUIRED, ERROR_REASON_PROMPT_TOO_LONG
from services.runtime.errors import InvalidArgument

Vectors: TypeAlias = NDArray[np.float32]
"""An item's embedding, of shape [dimensions] or [vectors, dimensions]; each vector of length 1."""


class Kind(Enum):
    """Items of different kinds take different ways through a model and share no batch."""

    TEXT = "text"
    IMAGE = "image"


@dataclass(frozen=True, eq=False)
class Item:
    """Something to embed, ready for its model."""

    kind: Kind
    input: tuple[int, ...] | Image.Image
    """A text's token ids, or an RGB picture of the model's size."""


@dataclass(frozen=True)
class Facts:
    """What a loaded checkpoint is."""

    revision: str
    late_interaction: bool
    """Whether an item has a vector for each of its tokens, and not one alone."""
    dimensions: int
    max_text_tokens: int
    """Of one text, with what the model puts around it."""
    image_size: int
    """A side in pixels."""
    resample: Image.Resampling
    """How pictures are brought to that size."""
    image_tokens: int
    """What a picture costs, with the model's prompt."""
    media_tokens: int
    """Those of them that stand for the picture itself."""
    logit_scale: float | None = None
    logit_bias: float | None = None
    """sigmoid(logit_scale * dot product + logit_bias) is the probability that a text and a picture belong together."""


class EmbeddingModel(ABC):
    """A loaded checkpoint."""

    facts: Facts

    @abstractmethod
    def encode(self, text: str, *, document: bool, field: str) -> Item:
        """`text` as token ids; `document` says that it is to be found and is no question. Any thread may call it.

        Raises InvalidArgument naming `field` when the model does not take the text.
        """

    @abstractmethod
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        """The items' embeddings in one forward pass. All must be of one kind. One thread at a time may call it."""

    def prove(self) -> None:
        """One picture and one word: what readiness rests on. Raises what the model raises."""
        size = self.facts.image_size
        self.embed([Item(Kind.IMAGE, Image.new("RGB", (size, size), (128, 128, 128)))])
        self.embed([self.encode("a", document=False, field="")])

    def tokens(self, item: Item) -> int:
        """What `item` costs of a batch."""
        return self.facts.image_tokens if item.kind is Kind.IMAGE else len(item.input)


def check_text(text: str, control_tokens: Sequence[str], *, field: str) -> None:
    """Raises InvalidArgument naming `field` when `text` is blank or holds a token that means something to the model."""
    if not text.strip():
        raise InvalidArgument("the text is blank", field=field, reason=ERROR_REASON_FIELD_REQUIRED)
    if control := next((token for token in control_tokens if token in text), None):
        raise InvalidArgument(f"the text holds the model's control token {control}", field=field)


def check_length(tokens: int, most: int, *, field: str) -> None:
    """Raises InvalidArgument naming `field` when a text has more than `most` tokens."""
    if tokens > most:
        raise InvalidArgument(
            f"the text has {tokens} tokens; this model takes {most} at most",
            field=field,
            reason=ERROR_REASON_PROMPT_TOO_LONG,
        )
