"""What the service needs of a model, whatever its family. Nothing here loads a model library."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.v1.errors_pb2 import (
    ERROR_REASON_FIELD_REQUIRED,
    ERROR_REASON_MEDIA_SIZE,
    ERROR_REASON_PROMPT_TOO_LONG,
)
from services.runtime.errors import InvalidArgument

Vectors: TypeAlias = NDArray[np.float32]
"""An item's embedding, of shape [dimensions] or [vectors, dimensions]; each vector of length 1."""

_LONGEST = 200
"""How many times longer one side of a picture may be than the other."""


class Kind(Enum):
    """Items of different kinds take different ways through a model and share no batch."""

    TEXT = "text"
    IMAGE = "image"


@dataclass(frozen=True, eq=False)
class Item:
    """Something to embed, ready for its model."""

    kind: Kind
    input: tuple[int, ...] | Image.Image
    """A text's token ids, or an RGB picture of the size that the model takes."""
    bucket: Hashable = None
    """Items of one kind that differ in it share no batch: padding one to the other would cost too much."""
    text: str = ""
    """What a text was, where its model can tell its words apart."""


@dataclass(frozen=True)
class Facts:
    """What a loaded checkpoint is."""

    revision: str
    late_interaction: bool
    """Whether an item has a vector for each of its tokens, and not one alone."""
    dimensions: int
    max_text_tokens: int
    """Of one text, with what the model puts around it."""
    resample: Image.Resampling
    """How pictures are brought to the model's size."""
    image_tokens: int
    """What a picture costs at most, with the model's prompt."""
    media_tokens: int
    """Those of them that stand for the picture itself."""
    logit_scale: float | None = None
    """Above 0, of models that say how well a label fits. With a bias (SigLIP) sigmoid(logit_scale * dot product +
    logit_bias) is the probability that a text and a picture belong together; without (CLIP) softmax(logit_scale * dot
    products) over the labels is."""
    logit_bias: float | None = None
    label_template: str = "{}"
    """The sentence that the model expects a label in, in the place of `{}`."""


class EmbeddingModel(ABC):
    """A loaded checkpoint."""

    facts: Facts

    @abstractmethod
    def encode(self, text: str, *, document: bool, field: str) -> Item:
        """`text` as token ids; `document` says that it is to be found and is no question. Any thread may call it.

        Raises InvalidArgument naming `field` when the model does not take the text.
        """

    @abstractmethod
    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        """To what width and height a picture of so many pixels must be brought for `picture`.

        Raises InvalidArgument naming `field` when the model takes none so long.
        """

    def picture(self, image: Image.Image) -> Item:
        """An RGB picture of its `picture_size`, ready to embed. Any thread may call it."""
        return Item(Kind.IMAGE, image)

    @abstractmethod
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        """The items' embeddings in one forward pass. All must be of one kind. One thread at a time may call it."""

    def prove(self, items: int = 1) -> None:
        """A batch of pictures and one of words: what readiness rests on. Raises what the model raises."""
        size = self.picture_size(256, 256, field="")
        self.embed([self.picture(Image.new("RGB", size, (128, 128, 128)))] * items)
        self.embed([self.encode("a", document=False, field="")] * items)

    def tokens(self, item: Item) -> int:
        """What `item` costs of a batch."""
        if item.kind is Kind.TEXT:
            return len(item.input)
        return self.media_tokens(item) + self.facts.image_tokens - self.facts.media_tokens

    def media_tokens(self, item: Item) -> int:
        """Those of its tokens that stand for a picture."""
        return self.facts.media_tokens if item.kind is Kind.IMAGE else 0


class LateInteractionModel(EmbeddingModel):
    """One whose vectors can be traced to the words of a text and to the patches of a picture."""

    @abstractmethod
    def words(self, item: Item) -> list[tuple[int, str]]:
        """Which of a text's vectors stand for its own words, and not for the prompt or padding: row and word."""

    @abstractmethod
    def patches(self, vectors: Vectors, width: int, height: int) -> NDArray[np.float32]:
        """[rows, columns, dimensions]: a picture's vectors laid out as its patches lie, from the top left corner.

        `vectors` are as `embed` gave them, none pooled, and the picture was so wide to so high, in any unit.
        """


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


def check_shape(width: int, height: int, *, field: str) -> None:
    """Raises InvalidArgument naming `field` when a picture is so long that a model that keeps its shape sees nothing.

    Qwen2-VL's bound, and what keeps a resized picture small.
    """
    if max(width, height) > _LONGEST * min(width, height):
        raise InvalidArgument(
            f"the picture is {width:,} x {height:,} pixels; this model takes sides up to 1 to {_LONGEST}",
            field=field,
            reason=ERROR_REASON_MEDIA_SIZE,
        )


def length_bucket(tokens: int) -> int:
    """Items of one bucket are padded to less than twice their length."""
    return tokens.bit_length()
