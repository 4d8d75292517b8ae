"""What the books go by."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path

from services.gemini_proxy.accounts.books import Dimension, Limits

MAX_AMOUNT = 2**53
"""Redis's scripts count in doubles, which are exact so far: $9,007,199 in nano-dollars."""


@dataclass(frozen=True)
class ModelLimits:
    """The limits of the models whose name matches."""

    pattern: str
    """As a shell's: `gemini-3.8-*`."""
    limits: Limits

    def __post_init__(self) -> None:
        for dimension in fields(self.limits):
            _check(getattr(self.limits, dimension.name), dimension.name)


@dataclass(frozen=True)
class Budget:
    """What a tenant may spend in a period of UTC."""

    limit_nanousd: int
    hard: bool = True
    """Whether a claim that could go beyond it is refused; a soft one only tells."""

    def __post_init__(self) -> None:
        _check(self.limit_nanousd, "limit_nanousd")


@dataclass(frozen=True)
class TenantBudgets:
    """None is no budget."""

    day: Budget | None = None
    month: Budget | None = None

    def by_period(self) -> dict[str, Budget]:
        return {name: budget for name, budget in (("day", self.day), ("month", self.month)) if budget is not None}


@dataclass(frozen=True)
class BooksSettings:
    """Raises ValueError for what the books cannot keep."""

    limits: Mapping[str, tuple[ModelLimits, ...]] = field(default_factory=dict)
    """By member of the pool; the first pattern that matches counts. What is not named has no limit."""
    budgets: Mapping[str, TenantBudgets] = field(default_factory=dict)
    """By tenant."""
    default_budgets: TenantBudgets = TenantBudgets()
    """Of tenants that are not named."""
    lease_s: float = 30.0
    """How long a lease lasts that is not renewed."""
    retention_days: int = 400
    """How long the ledger keeps its entries; its sums by day stay for ever."""
    attempt_days: int = 35
    """How long an attempt is remembered, so that it is booked once; older ones cannot be booked or corrected."""
    local_share: float = 0.0
    """What part of each limit this replica may use while the store is away, from 0 to 1: at most 1 over the number of
    replicas. Rounded down; a limit of which nothing is left allows nothing."""
    probe_s: float = 1.0
    """How often the store is tried while it is away, and swept while it is there."""
    spool_path: Path = Path("gemini-spool.jsonl")
    """Where settlements wait while the store is away; no other process may have it."""
    spool_max_bytes: int = 64 * 2**20
    """Of each of its two files. Beyond half of it nothing is reserved any more, beyond the whole nothing is settled."""

    def __post_init__(self) -> None:
        if not 0 <= self.local_share <= 1:
            raise ValueError(f"local_share {self.local_share} is not from 0 to 1")
        for name in ("lease_s", "retention_days", "attempt_days", "probe_s", "spool_max_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")

    def limits_of(self, member: str, model: str) -> dict[Dimension, int]:
        """Those that there are."""
        limits = next((m.limits for m in self.limits.get(member, ()) if fnmatchcase(model, m.pattern)), Limits())
        by_dimension = {
            Dimension.REQUESTS_PER_MINUTE: limits.requests_per_minute,
            Dimension.INPUT_TOKENS_PER_MINUTE: limits.input_tokens_per_minute,
            Dimension.REQUESTS_PER_DAY: limits.requests_per_day,
            Dimension.SPEND_PER_10_MINUTES: limits.spend_nanousd_per_10_minutes,
            Dimension.CONCURRENCY: limits.concurrency,
        }
        return {dimension: limit for dimension, limit in by_dimension.items() if limit is not None}

    def budgets_of(self, tenant: str) -> TenantBudgets:
        return self.budgets.get(tenant, self.default_budgets)


def _check(limit: int | None, name: str) -> None:
    if limit is not None and not 1 <= limit <= MAX_AMOUNT:
        raise ValueError(f"{name} {limit} is not from 1 to {MAX_AMOUNT}")
