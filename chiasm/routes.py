"""What the gateway would do with a request, as a client gets it. Times are in seconds, money in nano-US-dollars."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConsideredModel:
    """A model at one of the gateway's servers, and what the router makes of it."""

    model: str
    """As `models/NAME`."""
    provider: str
    server: int
    """Which of the gateway's model servers, 1 or more, in the order of its settings."""
    place: int
    """When it would be asked: 1 at first, 2 when that is not enough, ...; 0 not at all."""
    verdict: str
    """Why it would not be asked, to be read after its name; `may be asked` where it would."""
    expected_time_to_first_token_s: float
    expected_time_s: float
    guessed: bool
    """Whether too few answers came yet for the times to be more than a guess."""
    outstanding_s: float
    """Work that is thought to be ahead of it at the server."""
    expected_cost_nanousd: int
    min_confidence: float | None
    """The next model is asked where the answer's confidence is below this; None for never."""


@dataclass(frozen=True)
class RouteExplanation:
    """Which models would be asked, and why not the others."""

    policy_revision: str
    """`sha256-` and 16 digits of the policy file's hash; `default` where there is no file."""
    considered: tuple[ConsideredModel, ...]
    """Every model of every server: first those that would be asked, in their order."""
    refusal: str
    """Why no model would be asked; empty where one would."""
