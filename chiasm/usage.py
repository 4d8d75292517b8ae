"""What was used and what it cost, as a client gets it. Money is in nano-US-dollars, days are days of UTC."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from chiasm.results import Usage


class UsageGroup(StrEnum):
    """What sums are split by."""

    TENANT = "tenant"
    MODEL = "model"
    """The model that answered."""
    MEMBER = "member"
    """The member of the pool whose key was used."""
    DAY = "day"


@dataclass(frozen=True)
class UsageFilter:
    """Which part of the ledger; what is left out does not narrow it."""

    since: date | None = None
    """The first day."""
    until: date | None = None
    """The last day."""
    tenant: str = ""
    model: str = ""
    """The model that answered, as `NAME` or `models/NAME`."""
    member: str = ""


@dataclass(frozen=True)
class UsageRow:
    """One sum. Of `tenant`, `model`, `member` and `day` those are set that it is split by."""

    tenant: str
    model: str
    """As `models/NAME`."""
    member: str
    day: date | None
    attempts: int
    failed_attempts: int
    """Of `attempts`, those that did not end with a whole answer."""
    estimated_attempts: int
    """Of `attempts`, those whose figures are not final."""
    usage: Usage


@dataclass(frozen=True)
class UsageSums:
    """Sums over the ledger."""

    rows: tuple[UsageRow, ...]
    """In the order of what they are split by."""
    total: UsageRow


@dataclass(frozen=True)
class LedgerEntry:
    """One entry of the ledger. Entries are never changed; an attempt has one, and a second when it is corrected."""

    name: str
    """Unique."""
    time: datetime
    """When it was written; aware."""
    kind: str
    """`settled`, `estimated` or `correction`."""
    attempt_id: str
    request_id: str
    tenant: str
    member: str
    model_asked: str
    """As `models/NAME`."""
    model_answered: str
    """As `models/NAME`; empty when none did."""
    outcome: str
    """`ok`, `cancelled`, `failed`, `superseded` or `lost`."""
    batch: bool
    """Whether it ran in the provider's batch mode."""
    usage: Usage
    """Of a correction, the difference, which may be negative."""
    estimated_input_tokens: int
    """What the attempt was thought to read before it was made."""


@dataclass(frozen=True)
class Budget:
    """A tenant's budget in the current period."""

    tenant: str
    period: str
    """`day` or `month`."""
    hard: bool
    """Whether a call that could go beyond it is refused; a soft one only tells."""
    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    """By calls in flight."""
    resets_at: datetime
    """When the next period begins; aware."""


@dataclass(frozen=True)
class Reconciliation:
    """What the provider's own record changed."""

    rows: int
    """Rows that name an attempt of ours."""
    corrected: int
    """Of `rows`, attempts that were corrected or added."""
    skipped: int
    """Rows that name none, or cannot be read."""
    difference_nanousd: int
    """The sum of all corrections; may be negative."""
