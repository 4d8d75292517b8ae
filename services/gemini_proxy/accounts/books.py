"""What the books are asked and what they answer. `redis_books` and `local_books` keep them.

An attempt's life: `reserve` holds its worst case in every dimension at once, or refuses; `counted` says that the
provider has answered at all, so that its rate windows run from now; `settle` puts the real figures in its place.
A lease that is not renewed is swept: what it held is booked as spent at its worst case, because the provider may
have served it, until a settlement or the provider's own record corrects it.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.gemini_proxy.usage import TokenUsage


class Dimension(StrEnum):
    """What can run out."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    INPUT_TOKENS_PER_MINUTE = "input_tokens_per_minute"
    REQUESTS_PER_DAY = "requests_per_day"
    SPEND_PER_10_MINUTES = "spend_per_10_minutes"
    CONCURRENCY = "concurrency"
    BUDGET_DAY = "budget_day"
    BUDGET_MONTH = "budget_month"


@dataclass(frozen=True)
class Limits:
    """What the provider allows one project for one model; None is no limit, else 1 or more."""

    requests_per_minute: int | None = None
    """In any 60 s."""
    input_tokens_per_minute: int | None = None
    """In any 60 s."""
    requests_per_day: int | None = None
    """In a day of Pacific time."""
    spend_nanousd_per_10_minutes: int | None = None
    """In any 600 s; the project's, over all its models."""
    concurrency: int | None = None
    """At once."""


@dataclass(frozen=True)
class Claim:
    """What one attempt wants at most."""

    attempt_id: str
    """Unique for ever; the ledger's key."""
    request_id: str
    tenant: str
    model: str
    """The model asked, as Gemini names it, without `models/`."""
    input_tokens: int
    """No fewer than the provider will count."""
    cost_nanousd: int
    """No less than the provider will bill."""
    members: tuple[str, ...]
    """Members of the pool that may serve it, by name; one that has room is chosen."""
    batch: bool = False
    """Of the provider's batch mode, which no limit but spend and budgets holds for."""


@dataclass(frozen=True)
class Lease:
    """A claim granted."""

    attempt_id: str
    member: str
    """Whose key is to be used."""
    over_soft_budget: tuple[Dimension, ...] = ()
    """Soft budgets of the tenant that the claim goes beyond."""


@dataclass(frozen=True)
class Refusal:
    """A claim refused: the dimension that is short at the member that has room first."""

    dimension: Dimension
    limit: int
    """0 where the provider has refused without naming it."""
    retry_after_s: float | None
    """When there is room at the earliest, as far as can be known now; None where waiting does not help the claim: it is
    larger than the limit. Attempts in flight may end at any moment and give back slots, tokens and money: 0.1 s. Their
    requests leave the windows no sooner than 60 s from now, unless they are given back."""


class Outcome(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    CANCELLED = "cancelled"
    """The caller left."""
    FAILED = "failed"
    """The provider failed it, or its answer broke off."""
    SUPERSEDED = "superseded"
    """It was given up for another attempt."""
    LOST = "lost"
    """The process that made it died."""


@dataclass(frozen=True)
class Origin:
    """Whose an attempt was, for books that never saw it or have lost it: the store was away, or lost its memory."""

    request_id: str
    tenant: str
    model: str
    """The model asked."""
    member: str
    input_tokens: int
    """As claimed."""
    began_at: float
    """Seconds since 1970."""
    ended_at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Settlement:
    """What became of an attempt."""

    attempt_id: str
    outcome: Outcome
    usage: TokenUsage
    cost_nanousd: int
    answered_by: str
    """The model that really answered; empty when none did."""
    sent: bool = True
    """False when the provider was never reached: everything is given back."""
    final: bool = True
    """False where the provider may have billed more than was heard of; its own record corrects it."""
    batch: bool = False
    """Whether it ran in batch mode."""
    origin: Origin | None = None
    """With it, an attempt that the books do not know is booked all the same."""


class Booking(StrEnum):
    """What a settlement did."""

    SETTLED = "settled"
    CORRECTED = "corrected"
    """The attempt stood in the ledger by an estimate; the difference was added."""
    REPEATED = "repeated"
    """The attempt's final figures stood there already; nothing was done."""


class Books(ABC):
    """Raises `errors.BooksUnavailable` from every method while the store cannot be reached."""

    @abstractmethod
    async def reserve(self, claim: Claim, *, ahead: Sequence[Claim] = ()) -> Lease | Refusal:
        """Hold the whole claim or nothing. With claims `ahead`, only tells when there is room after them.

        Asked again for an attempt whose answer was lost, it answers the same lease.
        """

    @abstractmethod
    async def counted(self, attempt_id: str) -> None:
        """The provider has answered: its windows count this attempt from now at the latest."""

    @abstractmethod
    async def renew(self, attempt_ids: Collection[str]) -> None:
        """Keep these leases for another term."""

    @abstractmethod
    async def settle(self, settlement: Settlement) -> Booking:
        """Put the real figures in the place of what was held; idempotent by attempt.

        Raises UnknownAttempt for one that was never reserved here and has no `origin`.
        """

    @abstractmethod
    async def learn(
        self, member: str, model: str, dimension: Dimension, *, retry_after_s: float | None, limit: int | None
    ) -> None:
        """The provider refused with 429: no claim on this member and model until then, nor beyond `limit` for an hour.

        A day's requests are blocked until midnight Pacific whatever it said; without a time, a slot for 1 s, the rest
        for 60 s. Spend is blocked for the member's models all together. `dimension` is none of the budgets.
        """

    @abstractmethod
    async def sweep(self) -> int:
        """Book leases whose time is over; how many there were."""
