"""How callers took part in flights."""

from enum import StrEnum

from opentelemetry import metrics


class Role(StrEnum):
    """What a call, or a process, was to a flight."""

    LEADER = "leader"
    """A process asked."""
    LOCAL = "local"
    """A call joined another of its process."""
    SHARED = "shared"
    """A process joined another."""
    TAKEOVER = "takeover"
    """A process asked in the place of one that was lost."""


_flights = metrics.get_meter("chiasm.gateway").create_counter(
    "chiasm.gateway.flights", unit="{flight}", description="Flights by the part that was taken in them."
)


def took_part(role: Role) -> None:
    _flights.add(1, {"role": role})
