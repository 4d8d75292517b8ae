"""A question to Gemini, in this service's own terms."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.media_facts import MediaFacts


class Task(Enum):
    OPEN = "open"
    CAPTION = "caption"
    ANSWER = "answer"
    READ_TEXT = "read_text"
    DETECT = "detect"


class Priority(Enum):
    """Who goes first; the greater value does."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class Thinking(StrEnum):
    """As `thinkingConfig.thinkingLevel` names them."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class File:
    """Media whose bytes are at hand. `at` names where it stood in the request."""

    data: bytes = field(repr=False)
    facts: MediaFacts
    at: str


@dataclass(frozen=True)
class Reference:
    """Media that the provider fetches itself: `gs://`, or a public or signed `https://` address."""

    uri: str = field(repr=False)  # a signed address is a secret
    mime_type: str
    at: str


Piece = Text | File | Reference


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    by_model: bool
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Settings:
    """How to generate; None and empty take the provider's default, but for `max_tokens`, which is always set."""

    max_tokens: int
    """Answer and reasoning together."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    thinking: Thinking | None = None
    media_resolution: MediaResolution = MediaResolution.UNSPECIFIED


@dataclass(frozen=True)
class Question:
    """Everything that is asked, and by whom."""

    model: str
    """As Gemini names it, without `models/`."""
    task: Task
    system: tuple[Text, ...]
    turns: tuple[Turn, ...]
    settings: Settings
    tenant: str
    request_id: str
    priority: Priority

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(piece for turn in self.turns for piece in turn.pieces if isinstance(piece, File))
