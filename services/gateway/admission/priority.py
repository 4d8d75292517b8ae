"""Who goes first."""

from enum import IntEnum

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask
from services.gateway.policy import TenantPolicy


class Priority(IntEnum):
    """Priorities; the higher goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


_ASKED = {
    generation_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    generation_pb2.PRIORITY_LOW: Priority.LOW,
    generation_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    generation_pb2.PRIORITY_HIGH: Priority.HIGH,
}


def priority_of(ask: Ask) -> Priority:
    """What it asks for, but no more than its account may have."""
    # A priority of a newer contract is an unknown number here.
    asked = _ASKED.get(ask.request.routing.priority, Priority.NORMAL)
    return at_most(asked, ask.account)


def at_most(wanted: Priority, account: TenantPolicy) -> Priority:
    """`wanted`, but no more than the account may have."""
    return min(wanted, Priority[account.max_priority.upper()])
