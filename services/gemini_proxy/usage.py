"""What one attempt used, in the provider's own terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Modality(StrEnum):
    """As `ModalityTokenCount` names them (https://ai.google.dev/api/generate-content#Modality)."""

    TEXT = "TEXT"
    IMAGE = "IMAGE"
    DOCUMENT = "DOCUMENT"
    VIDEO = "VIDEO"
    AUDIO = "AUDIO"


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one attempt, 0 or more each (https://ai.google.dev/api/generate-content#UsageMetadata)."""

    input: Mapping[Modality, int] = field(default_factory=dict)
    """Read: the prompt and what tools put into it, the cached part included."""
    cached: Mapping[Modality, int] = field(default_factory=dict)
    """Of `input`, what was served from a cache."""
    answer: int = 0
    """Written as the answer."""
    thinking: int = 0
    """Written as reasoning; billed as output."""

    @property
    def input_tokens(self) -> int:
        return sum(self.input.values())

    @property
    def cached_tokens(self) -> int:
        return sum(self.cached.values())

    @property
    def media_tokens(self) -> int:
        return self.input_tokens - self.input.get(Modality.TEXT, 0)

    @property
    def output_tokens(self) -> int:
        return self.answer + self.thinking
