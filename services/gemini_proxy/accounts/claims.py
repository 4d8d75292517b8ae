"""What holds for every kind of books."""

from services.gemini_proxy.accounts.books import Claim, Dimension
from services.gemini_proxy.accounts.settings import MAX_AMOUNT
from services.runtime.errors import InvalidArgument


def check_claim(claim: Claim) -> None:
    """Raises InvalidArgument for a claim that no books can keep."""
    if not claim.members:
        raise InvalidArgument("no member of the pool is named", field="members")
    for name in ("input_tokens", "cost_nanousd"):
        if not 0 <= getattr(claim, name) <= MAX_AMOUNT:
            raise InvalidArgument(f"{getattr(claim, name)} is not from 0 to 2^53", field=name)


def block_s(dimension: Dimension, retry_after_s: float | None) -> float:
    """How long nothing is sent after a 429. Raises ValueError for a budget, of which no provider knows."""
    if dimension in (Dimension.BUDGET_DAY, Dimension.BUDGET_MONTH):
        raise ValueError(f"{dimension} is not the provider's")
    if retry_after_s is not None:
        return retry_after_s
    return 1.0 if dimension is Dimension.CONCURRENCY else 60.0
