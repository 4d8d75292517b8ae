"""What a model charges at one time, in nano-US-dollars per million tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.gemini_proxy.usage import Modality, TokenUsage


@dataclass(frozen=True)
class Rates:
    """Nano-US-dollars per million tokens, 0 or more each; the mappings have every modality."""

    input: Mapping[Modality, int]
    cached: Mapping[Modality, int]
    """Of input that a cache served."""
    output: int | None
    """Of the answer and of thinking; None for a model that writes none."""


@dataclass(frozen=True)
class Tier:
    """Rates of every token of a call whose prompt has more than `above` tokens."""

    above: int
    rates: Rates


@dataclass(frozen=True)
class Tariff:
    """What a model charges. Tiers begin at 0 and ascend."""

    standard: tuple[Tier, ...]
    batch: tuple[Tier, ...]
    """Of batch mode, and of flex, which costs the same."""
    cache_storage: int | None = None
    """Nano-US-dollars per million tokens and hour of an explicit cache; None where it is not known."""

    def rates(self, prompt_tokens: int, *, batch: bool) -> Rates:
        """Of a call whose prompt has `prompt_tokens`."""
        return self.reachable(prompt_tokens, batch=batch)[-1]

    def reachable(self, prompt_tokens: int, *, batch: bool) -> list[Rates]:
        """Of the calls whose prompts have at most `prompt_tokens`, ascending by the prompt."""
        tiers = self.batch if batch else self.standard
        return [tier.rates for tier in tiers if prompt_tokens > tier.above or tier.above == 0]


def million_nanousd(usage: TokenUsage, rates: Rates) -> int:
    """What the tokens cost, in millionths of a nano-US-dollar. A model without a rate for output writes none."""
    cost = (rates.output or 0) * usage.output_tokens
    for modality in Modality:
        cached = usage.cached.get(modality, 0)
        cost += (usage.input.get(modality, 0) - cached) * rates.input[modality] + cached * rates.cached[modality]
    return cost
