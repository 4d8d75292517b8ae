"""The books as simply as they can be written: a list of attempts, all of it gone through for every question."""

from dataclasses import dataclass, field
from math import inf

from services.gemini_proxy.accounts.books import Claim, Dimension, Outcome, Settlement
from services.gemini_proxy.accounts.periods import PACIFIC, day_at
from services.gemini_proxy.accounts.settings import BooksSettings

MINUTE, TEN_MINUTES, SOON = 60_001, 600_001, 100


@dataclass
class Attempt:
    claim: Claim
    member: str
    began: int
    lease_ends: float
    tokens: int
    spend: int
    state: str = "open"
    ended: int | None = None
    counted: int | None = None
    minute_ends: float = inf
    spend_ends: float = inf
    days: set[str] = field(default_factory=set)
    booked: int = 0
    outcome: str = ""


@dataclass
class Model:
    """Times are milliseconds."""

    settings: BooksSettings
    lease_ms: float
    attempts: dict[str, Attempt] = field(default_factory=dict)
    blocks: dict[tuple[str, str], tuple[Dimension, float]] = field(default_factory=dict)
    learned: dict[tuple[str, str, Dimension], tuple[int, float]] = field(default_factory=dict)

    def standing(self, dimension: Dimension, claim: Claim, member: str, now: int) -> list[tuple[float, int]]:
        """What stands against a limit: when it goes at the earliest, how much."""
        today = day_at(now, PACIFIC)
        stands = []
        for attempt in self.attempts.values():
            of_member = attempt.member == member
            of_model = of_member and attempt.claim.model == claim.model
            of_tenant = attempt.claim.tenant == claim.tenant
            is_open = attempt.state == "open"
            match dimension:
                case Dimension.REQUESTS_PER_MINUTE if of_model and attempt.minute_ends > now:
                    stands.append((min(attempt.minute_ends, now + MINUTE), 1))
                case Dimension.INPUT_TOKENS_PER_MINUTE if of_model and attempt.minute_ends > now:
                    stands.append((now + SOON if attempt.minute_ends == inf else attempt.minute_ends, attempt.tokens))
                case Dimension.SPEND_PER_10_MINUTES if of_member and attempt.spend_ends > now:
                    stands.append((now + SOON if is_open else attempt.spend_ends, attempt.spend))
                case Dimension.REQUESTS_PER_DAY if of_model:
                    in_flight = attempt.minute_ends == inf and is_open
                    if today.name in attempt.days or (in_flight and attempt.began < today.begins_ms):
                        stands.append((today.ends_ms, 1))
                case Dimension.CONCURRENCY if of_model and is_open:
                    stands.append((now + SOON, 1))
                case Dimension.BUDGET_DAY | Dimension.BUDGET_MONTH if of_tenant:
                    stands.append((now + SOON, attempt.claim.cost_nanousd) if is_open else (inf, attempt.booked))
        return stands

    def limits(self, member: str, model: str, now: int) -> dict[Dimension, int]:
        limits = self.settings.limits_of(member, model)
        for (learned_member, learned_model, dimension), (limit, until) in self.learned.items():
            if learned_member == member and learned_model in ("", model) and until > now:
                limits[dimension] = min(limit, limits.get(dimension, limit))
        return limits

    def room_at(self, stands: list[tuple[float, int]], need: int, limit: int, now: int) -> float:
        if need > limit:
            return inf
        for time in sorted({float(now), *(leaves for leaves, _ in stands)}):
            if sum(amount for leaves, amount in stands if leaves > time) + need <= limit:
                return time
        raise AssertionError("everything leaves")

    def choose(self, claim: Claim, now: int) -> tuple[float, str]:
        """When there is room, and at which member."""
        best = (inf, 0.0, "")
        for member in claim.members:
            at, spare = float(now), 1.0
            needs = {
                Dimension.INPUT_TOKENS_PER_MINUTE: claim.input_tokens,
                Dimension.SPEND_PER_10_MINUTES: claim.cost_nanousd,
            }
            for dimension, limit in self.limits(member, claim.model, now).items():
                stands = self.standing(dimension, claim, member, now)
                need = needs.get(dimension, 1)
                at = max(at, self.room_at(stands, need, limit, now))
                spare = min(spare, (limit - sum(amount for _, amount in stands) - need) / max(limit, 1))
            for model in (claim.model, ""):
                at = max(at, self.blocks.get((member, model), (None, 0))[1])
            if not best[2] or (at, -spare) < best[:2]:
                best = (at, -spare, member)
        at = best[0]
        for period, budget in self.settings.budgets_of(claim.tenant).by_period().items():
            if budget.hard:
                stands = self.standing(Dimension(f"budget_{period}"), claim, "", now)
                at = max(at, self.room_at(stands, claim.cost_nanousd, budget.limit_nanousd, now))
        return at, best[2]

    def beyond(self, claim: Claim, now: int) -> set[Dimension]:
        """The soft budgets that the claim goes beyond."""
        beyond = set()
        for period, budget in self.settings.budgets_of(claim.tenant).by_period().items():
            stands = self.standing(dimension := Dimension(f"budget_{period}"), claim, "", now)
            if not budget.hard and sum(amount for _, amount in stands) + claim.cost_nanousd > budget.limit_nanousd:
                beyond.add(dimension)
        return beyond

    def hold(self, claim: Claim, member: str, now: int) -> None:
        attempt = Attempt(claim, member, now, now + self.lease_ms, claim.input_tokens, claim.cost_nanousd)
        attempt.days = {day_at(now, PACIFIC).name}
        self.attempts[claim.attempt_id] = attempt

    def lapse(self, now: int) -> None:
        for attempt in self.attempts.values():
            if attempt.state == "open" and attempt.lease_ends <= now:
                attempt.ended = int(attempt.lease_ends)
                self._land(attempt, attempt.ended)
                attempt.spend_ends = attempt.lease_ends + TEN_MINUTES
                attempt.state, attempt.outcome, attempt.booked = "lost", "lost", attempt.claim.cost_nanousd

    def count(self, attempt_id: str, now: int) -> None:
        attempt = self.attempts[attempt_id]
        if attempt.counted is None and attempt.state in ("open", "lost"):
            attempt.minute_ends = inf
            self._land(attempt, now)
            attempt.counted = now

    def settle(self, settlement: Settlement, now: int) -> str:
        attempt = self.attempts[settlement.attempt_id]
        state = attempt.state
        if state == "open" and settlement.outcome is Outcome.LOST:
            return "repeated"
        if (
            state == "final"
            or (state == "returned" and not settlement.sent)
            or (state == "provisional" and not (settlement.final and settlement.sent))
        ):
            return "repeated"
        if not settlement.sent:
            attempt.minute_ends = attempt.spend_ends = 0
            attempt.days = set()
            attempt.booked = 0
            attempt.state = "returned"
        else:
            if state != "provisional":
                if state == "returned":
                    attempt.days = {day_at(attempt.began, PACIFIC).name}
                if state == "returned" or (state == "lost" and attempt.counted is None):
                    attempt.minute_ends = inf
                ended = now if attempt.ended is None else attempt.ended
                self._land(attempt, ended)
                attempt.spend_ends = ended + TEN_MINUTES
            attempt.tokens, attempt.spend = settlement.usage.input_tokens, settlement.cost_nanousd
            attempt.booked = settlement.cost_nanousd
            attempt.state = "final" if settlement.final else "provisional"
        if settlement.sent or state == "lost":
            attempt.outcome = settlement.outcome
        return "corrected" if state in ("lost", "provisional") else "settled"

    def _land(self, attempt: Attempt, at: int) -> None:
        """The provider has counted it by then."""
        if attempt.minute_ends == inf:
            attempt.minute_ends = (attempt.counted or at) + MINUTE
        if attempt.counted is None:
            attempt.days.add(day_at(at, PACIFIC).name)
