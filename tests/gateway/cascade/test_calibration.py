"""The map from reported to calibrated confidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.cascade.calibration import calibrated

SHARE = st.floats(0, 1)


@st.composite
def points(draw: st.DrawFn) -> list[tuple[float, float]]:
    xs = draw(st.lists(SHARE, min_size=1, max_size=8, unique=True))
    ys = draw(st.lists(SHARE, min_size=len(xs), max_size=len(xs)))
    return list(zip(sorted(xs), sorted(ys), strict=True))


@pytest.mark.parametrize(
    ("reported", "expected"), [(0.0, 0.1), (0.2, 0.1), (0.3, 0.2), (0.4, 0.3), (0.9, 0.55), (1.0, 0.6)]
)
def test_straight_lines_between_points_and_flat_beyond(reported: float, expected: float) -> None:
    assert calibrated([(0.2, 0.1), (0.4, 0.3), (0.8, 0.5), (1.0, 0.6)], reported) == pytest.approx(expected)


def test_without_points_it_is_as_reported() -> None:
    assert calibrated((), 0.37) == 0.37


@given(points(), SHARE, SHARE)
def test_it_rises_and_stays_between_the_ends(points: list[tuple[float, float]], one: float, other: float) -> None:
    low, high = calibrated(points, min(one, other)), calibrated(points, max(one, other))
    assert points[0][1] - 1e-9 <= low <= high + 1e-9 <= points[-1][1] + 2e-9


@given(points())
def test_it_goes_through_its_points(points: list[tuple[float, float]]) -> None:
    for reported, right in points:
        assert calibrated(points, reported) == pytest.approx(right)
