"""What a caller may ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from chiasm.images import ImageLike


class Task(StrEnum):
    """What is wanted of the media."""

    OPEN = "open"
    """The prompt is given to the model as it is."""
    CAPTION = "caption"
    ANSWER = "answer"
    READ_TEXT = "read_text"
    DETECT = "detect"
    SEGMENT = "segment"


class TextPurpose(StrEnum):
    """What texts are embedded for. It matters where a model embeds questions otherwise than what they search."""

    UNSPECIFIED = "unspecified"
    """The model's own: a question where it embeds no other text, as ColPali does."""
    QUERY = "query"
    """To search for."""
    DOCUMENT = "document"
    """To be found."""


@dataclass(frozen=True)
class EmbedItem:
    """Something to embed: a text, or a picture."""

    text: str = ""
    image: "ImageLike | None" = field(default=None, repr=False)


class Options(TypedDict, total=False):
    """How to answer. What is left out takes the server's default."""

    model: str
    """`NAME` or `models/NAME`; empty lets the gateway decide."""
    max_tokens: int
    """Most tokens to write, 1 or more."""
    temperature: float
    """Randomness, 0 to 2; 0 is greedy."""
    top_p: float
    """Keep the likeliest tokens up to this probability, above 0 to 1."""
    top_k: int
    """Keep this many likeliest tokens, 1 or more."""
    seed: int
    """Makes sampling repeatable, 0 or more."""
    stop: Sequence[str]
    """Texts that end the answer and are left out of it; at most 8."""
    json_schema: str
    """A JSON schema the answer must satisfy, as JSON text."""
    allow_fallback: bool
    """Whether another model may answer when the first fails."""
    min_confidence: float
    """Ask a stronger model when the confidence is below this, 0 to 1."""
    max_cost_nanousd: int
    """Spend at most this, 0 or more."""
    request_id: str
    """The caller's name for the request: 1 to 128 letters, digits, `.`, `_` or `-`."""
    timeout_s: float
    """Seconds for the whole call, above 0; the client's own when left out."""
