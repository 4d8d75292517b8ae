from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.caching import CachingAdvice, caching_pays
from services.gemini_proxy.prices import Price

PRO = Price(
    input=2_000_000_000,
    output=12_000_000_000,
    cached=200_000_000,
    cache_storage=4_500_000_000,
    long_context_above=200_000,
)


def advice(tokens: int, uses_per_hour: float, ttl_s: int = 3_600, price: Price = PRO) -> CachingAdvice:
    return caching_pays(tokens, price, uses_per_hour=uses_per_hour, ttl_s=ttl_s, min_tokens=4_096)


def test_a_prefix_that_is_used_often_pays() -> None:
    """100,000 tokens, an hour, 10 uses: each saves $0.18; the cache costs $0.20 to make and $0.45 to keep."""
    assert advice(100_000, 10) == CachingAdvice(True, 1_150_000_000, 4)


def test_a_prefix_that_is_used_too_seldom_does_not() -> None:
    """3 uses save $0.54 of the $0.65; a fourth turns it."""
    assert advice(100_000, 3) == CachingAdvice(False, -110_000_000, 4)
    assert advice(100_000, 4).pays


def test_a_longer_life_costs_more_storage() -> None:
    """10 hours cost $4.50 + $0.20 to save $0.18 a use: 26.1 uses."""
    assert advice(100_000, 1, 36_000) == CachingAdvice(False, -2_900_000_000, 27)


def test_even_is_no_gain() -> None:
    even = Price(input=3, output=0, cached=1, cache_storage=1, long_context_above=None)
    assert advice(1_000_000, 2, price=even) == CachingAdvice(False, 0, 2)


def test_what_cannot_be_cached_does_not_pay() -> None:
    nothing = CachingAdvice(False, 0, None)
    assert advice(4_095, 1_000) == nothing
    assert caching_pays(10**6, PRO, uses_per_hour=1_000, ttl_s=3_600, min_tokens=None) == nothing
    unstored = Price(1_000, 1_000, 100, None, None)
    assert advice(10**6, 1_000, price=unstored) == nothing


def test_no_number_of_uses_is_enough_without_a_discount() -> None:
    full = Price(1_000, 1_000, 1_000, 1, None)
    assert advice(10**6, 1_000, price=full).break_even_uses is None


@given(st.integers(4_096, 10**6), st.integers(0, 1_000), st.integers(60, 86_400))
def test_it_pays_with_more_uses_than_break_even_and_not_with_fewer(tokens: int, uses: int, ttl_s: int) -> None:
    found = caching_pays(tokens, PRO, uses_per_hour=Fraction(uses * 3_600, ttl_s), ttl_s=ttl_s, min_tokens=4_096)
    assert found.break_even_uses is not None
    if uses > found.break_even_uses:
        assert found.pays
        assert found.saving_nanousd >= 0
    if uses < found.break_even_uses:
        assert not found.pays
        assert found.saving_nanousd < 0
