"""What attempts are made with: who may be asked, and who judges answers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from chiasm.v1 import generation_pb2, models_pb2
from services.gateway.answerer import Ask, Events
from services.gateway.attempts.circuit import Circuit
from services.gateway.policy import Policy
from services.gateway.routing.prediction import Outcome


class Target(Protocol):
    """A model server."""

    address: str
    circuit: Circuit

    def stream(
        self, request: generation_pb2.GenerateRequest, timeout_s: float, metadata: Sequence[tuple[str, str]] = ()
    ) -> Events:
        """Its events, as they come and unchecked. Closing them cancels the call. Raises a ChiasmError."""

    def working(self, model: str, work_s: float) -> AbstractContextManager[None]:
        """Counts the work of `work_s` seconds as outstanding there, for the model of this name."""


class Candidate(Protocol):
    """A model at a target that can make the deadline, as the router thinks."""

    target: Target
    model: models_pb2.Model
    expected_s: float
    work_s: float
    expected_cost_nanousd: int


class Plan(Protocol):
    """Who may be asked, in this order; at least one."""

    candidates: tuple[Candidate, ...]


class Router(Protocol):
    """Who can answer what."""

    def plan(self, ask: Ask, policy: Policy) -> Plan:
        """Raises a ChiasmError where nobody can answer `ask` in time."""

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Learns from an attempt."""


class Verdict(Protocol):
    """What is thought of a whole answer."""

    confidence: float | None
    """How likely it is right, calibrated, 0 to 1; None where nothing tells."""
    sure: bool
    """Whether it is good enough."""


class Judge(Protocol):
    """Judges whole answers."""

    async def __call__(
        self,
        candidate: Candidate,
        ask: Ask,
        said: generation_pb2.Delta,
        finished: generation_pb2.Finished,
    ) -> Verdict:
        """`said` is the whole text with all its tokens; `finished` is as the model server sent it.

        Takes no more than a share of the time that `ask` has left.
        """
