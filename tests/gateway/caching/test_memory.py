"""Answers in memory: bounded, and only for a time."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.caching.memory import OVERHEAD_BYTES, MemoryCache

STORES = st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=2_000), st.floats(0.1, 10)))


@given(STORES, st.integers(0, 5_000))
def test_it_never_holds_more_than_it_may(stores: list[tuple[str, bytes, float]], most: int) -> None:
    cache = MemoryCache(lambda: most)
    for key, data, ttl_s in stores:
        cache.put(key, data, ttl_s)
        assert cache.held_bytes <= most
        if len(data) + OVERHEAD_BYTES <= most:
            assert cache.get(key) == data


def test_an_answer_goes_when_its_time_is_over() -> None:
    now = 0.0
    cache = MemoryCache(lambda: 10_000, clock=lambda: now)
    cache.put("a", b"1", 10)
    now = 9.9
    assert cache.get("a") == b"1"
    now = 10.0
    assert cache.get("a") is None


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = MemoryCache(lambda: 2 * (OVERHEAD_BYTES + 1))
    cache.put("a", b"1", 10)
    cache.put("b", b"2", 10)
    cache.get("a")
    cache.put("c", b"3", 10)
    assert [cache.get(key) for key in "abc"] == [b"1", None, b"3"]


def test_a_new_bound_holds_from_the_next_store() -> None:
    most = 10_000
    cache = MemoryCache(lambda: most)
    cache.put("a", b"1", 10)
    most = 0
    cache.put("b", b"2", 10)
    assert (cache.get("a"), cache.get("b"), cache.held_bytes) == (None, None, 0)
