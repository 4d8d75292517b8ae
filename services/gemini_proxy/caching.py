"""Whether an explicit cache of a prompt's beginning costs less than sending it every time.

A cache costs its tokens once at the rate of input, then for every hour that it lasts, and for every use at the rate of
cached input (https://ai.google.dev/gemini-api/docs/caching#how-caching-reduces-costs). Discounts that implicit caching
might have given without it are left out: they are not promised.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from services.gemini_proxy.prices import Price


@dataclass(frozen=True)
class CachingAdvice:
    """What a cache would bring over its lifetime."""

    pays: bool
    saving_nanousd: int
    """What it saves, rounded down; below 0 where it costs more than it saves."""
    break_even_uses: int | None
    """Fewest uses in its lifetime with which it costs no more; None where none are enough."""


def caching_pays(
    prefix_tokens: int, price: Price, *, uses_per_hour: float | Fraction, ttl_s: int, min_tokens: int | None
) -> CachingAdvice:
    """Advises on a cache of `prefix_tokens` that lasts `ttl_s` seconds and is used `uses_per_hour` times.

    `min_tokens` are the fewest that the model caches (`Model.cache_min_tokens`), None where it caches none. A prefix
    is taken to be text: sound costs more, and so saves more.
    """
    if price.cache_storage is None or min_tokens is None or prefix_tokens < min_tokens:
        return CachingAdvice(pays=False, saving_nanousd=0, break_even_uses=None)
    hours = Fraction(ttl_s, 3600)
    fixed = price.input + price.cache_storage * hours
    saved_by_use = price.input - price.cached
    saving = (saved_by_use * Fraction(uses_per_hour) * hours - fixed) * Fraction(prefix_tokens, 10**6)
    return CachingAdvice(
        pays=saving > 0,
        saving_nanousd=floor(saving),
        break_even_uses=ceil(fixed / saved_by_use) if saved_by_use > 0 else None,
    )
