"""What the emulator is told: who may call, which models there are, what they cost and where they stop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import TypeAdapter

Endpoint = Literal["generate", "count", "embed", "upload", "cache", "batch"]


@dataclass(frozen=True)
class Rates:
    """Nano-US-dollars for a million tokens, 0 or more each. Thinking is written at the rate of output."""

    input: int
    output: int = 0
    cached: int = 0
    input_of: Mapping[str, int] = field(default_factory=dict)
    """By modality, where it differs from `input`."""
    cached_of: Mapping[str, int] = field(default_factory=dict)
    """By modality, where it differs from `cached`."""


@dataclass(frozen=True)
class Model:
    """One model, by its name without `models/`."""

    rates: Rates
    long_context_above: int | None = None
    """With more prompt tokens than these, all tokens of a call are at `long_context_rates`."""
    long_context_rates: Rates | None = None
    cache_storage: int = 1_000_000_000
    """Nano-US-dollars to keep a million tokens cached for an hour."""
    cache_write: int | None = None
    """Nano-US-dollars for a million tokens put into a cache; None is the rate of input."""
    min_cached_tokens: int = 2_048
    input_token_limit: int = 1_048_576
    output_token_limit: int = 65_536
    embedding_size: int = 0
    """Dimensions of its vectors; 0 for a model that generates."""


@dataclass(frozen=True)
class Quota:
    """What one project may ask of one model; None is no limit."""

    requests_per_minute: int | None = None
    """In any 60 s, by arrival."""
    input_tokens_per_minute: int | None = None
    """In any 60 s, by arrival; the cached part included."""
    requests_per_day: int | None = None
    """In a day of Pacific time."""
    concurrency: int | None = None
    """At once. A client that has gone is noticed when the loop reads its FIN: cancel and call at once is a race."""


@dataclass(frozen=True)
class Project:
    """Who calls: quotas and bill are the project's, whichever of its keys was used."""

    api_keys: tuple[str, ...] = field(repr=False)
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    """By model; `*` for those that are not named."""
    spend_nanousd_per_10_minutes: int | None = None
    """In any 600 s over all models, by the end of the calls."""


FaultKind = Literal[
    "error",
    "slow",
    "cut",
    "malformed_event",
    "error_event",
    "no_finish",
    "malformed_json",
    "thinking_only",
    "file_failed",
]


@dataclass(frozen=True)
class Fault:
    """One way to fail; `faults` says what each kind does."""

    kind: FaultKind
    code: int = 503
    """Of an `error` or `error_event`: 400, 403, 429, 500, 503 or 504."""
    quota_id: str = "GenerateRequestsPerMinutePerProjectPerModel"
    """Of a 429."""
    retry_delay_s: float = 1
    """Of a 429."""
    delay_s: float = 3600
    """Of `slow`: how long before the headers."""
    after_chunks: int = 1
    """Of `cut`, `malformed_event` and `error_event`: whole chunks sent before, fewer than there are."""
    times: int | None = None
    """How many calls it strikes; None for all. In a prompt: calls with the same directive."""


@dataclass(frozen=True)
class FaultRule:
    """A fault that strikes calls at random."""

    fault: Fault
    probability: float = 1
    at: Endpoint = "generate"


@dataclass(frozen=True)
class Config:
    """All of it; `Config.of_json` reads the same from JSON and raises pydantic.ValidationError."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    projects: Mapping[str, Project]
    models: Mapping[str, Model]
    reroutes: Mapping[str, str] = field(default_factory=dict)
    """Model asked -> model that silently answers, by its own token rules and prices; the quotas are the asked one's."""
    first_token_s: float = 0
    chunk_s: float = 0
    chunks: int = 3
    """Of a streamed answer."""
    file_polls: int = 1
    """Times that a file is PROCESSING before it is ACTIVE."""
    batch_polls: int = 1
    """Times that a batch is RUNNING before it is done."""
    remote: Mapping[str, str] = field(default_factory=dict)
    """`gs://` or `https://` address -> local file with what is there."""
    faults: tuple[FaultRule, ...] = ()
    seed: int = 0
    """Of the faults' randomness."""

    @classmethod
    def of_json(cls, file: Path) -> "Config":
        return TypeAdapter(cls).validate_json(file.read_bytes())


def _dollars(price: float) -> int:
    return round(price * 1_000_000_000)


MODELS: Mapping[str, Model] = {
    "gemini-4-argon": Model(Rates(_dollars(2), _dollars(10), _dollars(0.1)), min_cached_tokens=4_096),
    "gemini-3.8-flash": Model(Rates(_dollars(0.75), _dollars(3.75), _dollars(0.075))),
    "gemini-3.5-flash-lite": Model(Rates(_dollars(0.3), _dollars(2.5), _dollars(0.03))),
    "gemini-3.1-flash-lite": Model(
        Rates(
            _dollars(0.25),
            _dollars(1.5),
            _dollars(0.025),
            input_of={"AUDIO": _dollars(0.5)},
            cached_of={"AUDIO": _dollars(0.05)},
        )
    ),
    "gemini-3.1-pro-preview": Model(
        Rates(_dollars(2), _dollars(12), _dollars(0.2)),
        long_context_above=200_000,
        long_context_rates=Rates(_dollars(4), _dollars(18), _dollars(0.4)),
        cache_storage=_dollars(4.5),
        min_cached_tokens=4_096,
    ),
    "gemini-2.5-flash": Model(
        Rates(
            _dollars(0.3),
            _dollars(2.5),
            _dollars(0.03),
            input_of={"AUDIO": _dollars(1)},
            cached_of={"AUDIO": _dollars(0.1)},
        )
    ),
    "gemini-embedding-2": Model(
        Rates(_dollars(0.2), input_of={"IMAGE": _dollars(0.45), "AUDIO": _dollars(6.5), "VIDEO": _dollars(12)}),
        input_token_limit=8_192,
        embedding_size=3_072,
    ),
    "gemini-embedding-001": Model(Rates(_dollars(0.15)), input_token_limit=2_048, embedding_size=3_072),
}
"""As https://ai.google.dev/gemini-api/docs/pricing had them in November 2026."""

TEST_KEY = "key-of-a-test"


def default_config(**changes: object) -> Config:
    """One project named `test` without quotas, of `TEST_KEY`, and `MODELS`."""
    return Config(**{"projects": {"test": Project((TEST_KEY,))}, "models": MODELS} | changes)
