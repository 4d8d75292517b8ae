"""Tokens of one call, and how Gemini reports them (https://ai.google.dev/api/generate-content#UsageMetadata)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens, 0 or more each."""

    input: Mapping[str, int] = field(default_factory=dict)
    """By modality, the cached part included."""
    cached: Mapping[str, int] = field(default_factory=dict)
    """Of `input`."""
    answer: int = 0
    thinking: int = 0

    @property
    def input_tokens(self) -> int:
        return sum(self.input.values())

    def metadata(self) -> dict[str, Any]:
        """The `usageMetadata`; zeros are left out, as protobuf's JSON does."""
        prompt = self.input_tokens
        metadata: dict[str, Any] = {
            "promptTokenCount": prompt,
            "totalTokenCount": prompt + self.answer + self.thinking,
            "promptTokensDetails": _details(self.input),
        }
        if self.answer:
            metadata["candidatesTokenCount"] = self.answer
            metadata["candidatesTokensDetails"] = _details({"TEXT": self.answer})
        if self.thinking:
            metadata["thoughtsTokenCount"] = self.thinking
        if self.cached:
            metadata["cachedContentTokenCount"] = sum(self.cached.values())
            metadata["cacheTokensDetails"] = _details(self.cached)
        return metadata


def _details(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in counts.items()]
