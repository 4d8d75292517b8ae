"""Claims and settlements to try the books with."""

from itertools import count

from services.gemini_proxy.accounts.books import Claim, Limits, Outcome, Settlement
from services.gemini_proxy.accounts.settings import BooksSettings, ModelLimits
from services.gemini_proxy.usage import Modality, TokenUsage

NOON = 1_795_651_200_000 + 12 * 3_600_000
"""2026-11-26, noon UTC, in milliseconds."""
DAY_MS = 86_400_000

_numbers = count()


class Clock:
    """A time that only the test moves."""

    def __init__(self, now_ms: int = NOON) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def go(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def settings(limits: Limits | None = None, **others: object) -> BooksSettings:
    """With these limits for every model of the member `a`."""
    return BooksSettings(limits={"a": (ModelLimits("*", limits or Limits()),)}, **others)


def claim(
    attempt_id: str = "",
    *,
    tokens: int = 10,
    cost: int = 1_000,
    tenant: str = "acme",
    model: str = "gemini-3.8-flash",
    members: tuple[str, ...] = ("a",),
    batch: bool = False,
) -> Claim:
    return Claim(attempt_id or f"attempt-{next(_numbers)}", "request", tenant, model, tokens, cost, members, batch)


def settlement(
    attempt_id: str, *, tokens: int = 8, cost: int = 700, outcome: Outcome = Outcome.OK, **others: object
) -> Settlement:
    usage = TokenUsage(input={Modality.TEXT: tokens}, answer=5, thinking=2)
    return Settlement(attempt_id, outcome, usage, cost, "gemini-3.8-flash", **others)
