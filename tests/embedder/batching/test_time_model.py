import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedder.batching.time_model import TimeModel

SIZES = st.lists(st.integers(1, 10_000), min_size=3, max_size=40, unique=True)
BATCHES = st.lists(st.tuples(st.integers(1, 10_000), st.floats(1e-6, 100)), min_size=1, max_size=40)


@given(SIZES, st.floats(0, 1), st.floats(0, 1), st.integers(1, 10_000))
def test_a_line_is_found(sizes: list[int], a: float, b: float, asked: int) -> None:
    model = TimeModel()
    for size in sizes:
        model.observe(size, a * size + b, 0)
    assert model.predict(asked, 0) == pytest.approx(a * asked + b, rel=1e-3, abs=1e-6 * asked)
    assert model.predict(asked, 0, batches=3) == pytest.approx(a * asked + 3 * b, rel=1e-3, abs=1e-6 * asked)


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(1e-6, 100)), min_size=1, max_size=40), st.integers(0, 9_999)
)
def test_whatever_was_measured_more_takes_no_less(seen: list[tuple[int, float]], asked: int) -> None:
    model = TimeModel()
    for size, seconds in seen:
        model.observe(size, seconds, 0)
    assert 0 <= model.predict(asked, 0) <= model.predict(asked + 1, 0)


def test_nothing_is_known_at_first() -> None:
    assert TimeModel().predict(1_000, 12.0) == 0


def test_two_batches_say_nothing_yet() -> None:
    model = TimeModel()
    for seen in range(1, 4):
        model.observe(10, 8.0, 0)
        assert model.predict(10, 0) == (8 if seen == 3 else 0)


def test_a_batch_that_was_held_up_changes_little() -> None:
    model = TimeModel()
    for size in (10, 20, 30, 40, 50, 60):
        model.observe(size, 100.0 if size == 30 else size / 10, 0)
    assert model.predict(100, 0) == pytest.approx(10, rel=0.1)


def test_batches_of_nearly_one_size_are_told_by_their_own_times() -> None:
    model = TimeModel()
    for size, seconds in ((1_000, 1.0), (1_001, 1.3), (1_002, 0.9), (1_003, 1.2)):
        model.observe(size, seconds, 0)
    assert 0.9 <= model.predict(1_000, 0) <= 1.3


def test_what_was_measured_long_ago_is_believed_less() -> None:
    model = TimeModel()
    for _ in range(3):
        model.observe(10, 8.0, 100)
    assert [model.predict(10, now) for now in (100, 130, 160)] == [8, 4, 2]
