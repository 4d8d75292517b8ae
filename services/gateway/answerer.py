"""What answers: every layer of the gateway has this one form and wraps the next.

service -> admission -> cache and flights -> attempts (routing, cascade, fallback, hedging) -> target
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from chiasm.v1 import generation_pb2
from services.gateway.clock import Clock
from services.gateway.policy import TenantPolicy
from services.gateway.policy_file import NO_FILE, LoadedPolicy

Events = AsyncGenerator[generation_pb2.StreamGenerateResponse, None]


@dataclass(frozen=True)
class Weight:
    """What a request's media weigh, from their headers."""

    bytes: int
    pixels: int


@dataclass
class Standing:
    """What the layers before learn of an answer besides its events, once it is whole."""

    unsure: bool = False
    """Whether a better one was wanted and not had: asked again another time it may well be."""


UNNAMED = TenantPolicy(name="default")
"""A tenant without limits of its own."""


@dataclass(frozen=True)
class Ask:
    """A question on its way through the gateway."""

    request: generation_pb2.GenerateRequest
    """Checked and named; its media are bytes, or `gs://` objects that a provider reads by itself. Nobody changes it."""
    tenant: str
    """On whose account it is."""
    deadline: float
    """By the event loop's clock, in seconds."""
    arrived: Clock
    weight: Weight
    account: TenantPolicy = UNNAMED
    """Whose weight, priority and models hold: the tenant's own, or the caller's who acts for it."""
    policy: LoadedPolicy = NO_FILE
    """What held when it arrived, and holds for it to the end."""
    whole: bool = False
    """Whether nothing of the answer is shown before its end: a unary call."""
    standing: Standing = field(default_factory=Standing)
    """Of its answer: who answers writes here."""


class Answerer(Protocol):
    """A layer."""

    def events(self, ask: Ask) -> Events:
        """The answer as it comes: `started`, deltas, `finished` as the last; `superseded` and `started` in between.

        Ends without `finished` only by raising a ChiasmError. Closing it, or its task's cancellation, ends the work
        that nobody else waits for. Who reads it bounds each wait by `ask.deadline`.
        """
