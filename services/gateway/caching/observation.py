"""What the cache was good for."""

from enum import StrEnum

from opentelemetry import metrics


class Result(StrEnum):
    """What a look at stored answers found."""

    MEMORY = "memory"
    SHARED = "shared"
    NEAR = "near"
    MISS = "miss"
    BYPASS = "bypass"
    """It was not looked at: the caller or the policy would not have it."""


_meter = metrics.get_meter("chiasm.gateway")
_lookups = _meter.create_counter(
    "chiasm.gateway.cache.lookups", unit="{lookup}", description="Looks at stored answers by what they found."
)
_verified = _meter.create_counter(
    "chiasm.gateway.cache.near.verified",
    unit="{answer}",
    description="Answers about a picture that looks alike, compared with a fresh one.",
)


def looked(result: Result) -> None:
    _lookups.add(1, {"result": result})


def verified(*, agrees: bool) -> None:
    _verified.add(1, {"result": "agree" if agrees else "differ"})
