"""What Google would charge: one line for each call that costs, in whole nano-US-dollars.

The cost of a call is exact in fractions of a nano-dollar and rounds up once, on its total. Who pays for what:

- 4xx and 5xx before any output: nothing, and no line.
- The client has gone: generation runs to its end and is billed whole, as `client_gone`.
- The emulator breaks the answer off: as `faults` says, as `cut`. A stream cut before its first chunk costs nothing.
- Blocked (a `finishReason` such as SAFETY, or `promptFeedback.blockReason`): what was used, the prompt at least.
- Batches: half, by request, when they are done.
- A cache: its tokens once when it is made, and storage for the time to live it is given, when it is given; deleting
  it sooner returns nothing (https://ai.google.dev/gemini-api/docs/caching: "billed based on the TTL duration").
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import TextIOBase
from typing import Any, Literal

from tests.gemini.config import Model, Rates
from tests.gemini.usage import Usage

Kind = Literal["generate", "embed", "cache_write", "cache_storage"]
Ending = Literal["complete", "client_gone", "cut"]

_MILLION = 1_000_000
_HOUR_MICROS = 3600 * 1_000_000


@dataclass(frozen=True)
class Line:
    kind: Kind
    response_id: str
    """Of the call, or the cache's name."""
    at_s: float
    """When it was billed, seconds since 1970."""
    project: str
    model: str
    """The model asked."""
    model_version: str
    """The model that answered, whose price it is."""
    usage: Usage
    cost_nanousd: int
    ending: Ending = "complete"
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of a Vertex call; of a batch's request its `metadata`."""
    batch: bool = False

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"usage": vars(self.usage)}

    def log_row(self) -> dict[str, Any]:
        """As in Vertex's request-response log
        (https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging)."""
        return {
            "logging_time": self.at_s,
            "model": f"publishers/google/models/{self.model}",
            "model_version": self.model_version,
            "api_method": "GenerateContent",
            "full_request": {"labels": self.labels},
            "full_response": {
                "responseId": self.response_id,
                "modelVersion": self.model_version,
                "usageMetadata": self.usage.metadata(),
            },
        }


class Bill:
    def __init__(self, file: TextIOBase | None = None) -> None:
        self.lines: list[Line] = []
        self.total_nanousd = 0
        self._file = file

    def add(self, line: Line) -> None:
        self.lines.append(line)
        self.total_nanousd += line.cost_nanousd
        if self._file:
            self._file.write(json.dumps(line.as_json()) + "\n")

    def as_json(self) -> dict[str, Any]:
        return {"lines": [line.as_json() for line in self.lines], "total_nanousd": self.total_nanousd}

    def log(self) -> str:
        """JSON lines of all calls that generated."""
        return "".join(json.dumps(line.log_row()) + "\n" for line in self.lines if line.kind == "generate")


def call_cost(usage: Usage, model: Model, *, batch: bool = False) -> int:
    """Nano-US-dollars, rounded up."""
    rates = model.rates
    if model.long_context_above is not None and usage.input_tokens > model.long_context_above:
        assert model.long_context_rates
        rates = model.long_context_rates
    total = (usage.answer + usage.thinking) * rates.output + _input(usage.input, rates)
    for modality, tokens in usage.cached.items():
        rate = rates.input_of.get(modality, rates.input)
        total += tokens * (rates.cached_of.get(modality, rates.cached) - rate)
    return _ceil(total, _MILLION * (2 if batch else 1))


def cache_write_cost(tokens: Mapping[str, int], model: Model) -> int:
    """Nano-US-dollars, rounded up."""
    if model.cache_write is None:
        return _ceil(_input(tokens, model.rates), _MILLION)
    return _ceil(sum(tokens.values()) * model.cache_write, _MILLION)


def cache_storage_cost(tokens: int, micros: int, model: Model) -> int:
    """Nano-US-dollars to keep `tokens` for so many microseconds, rounded up."""
    return _ceil(tokens * micros * model.cache_storage, _MILLION * _HOUR_MICROS)


def _input(tokens: Mapping[str, int], rates: Rates) -> int:
    return sum(count * rates.input_of.get(modality, rates.input) for modality, count in tokens.items())


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
