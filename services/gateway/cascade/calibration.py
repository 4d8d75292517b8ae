"""From what a model says of its confidence to how often such answers are right."""

from bisect import bisect_right
from collections.abc import Sequence

Points = Sequence[tuple[float, float]]


def calibrated(points: Points, reported: float) -> float:
    """`reported`, 0 to 1, on the straight lines through `points`, which rise; before the first and after the last as
    there. Without points as reported."""
    if not points:
        return reported
    after = bisect_right(points, reported, key=lambda point: point[0])
    if after in (0, len(points)):
        return points[min(after, len(points) - 1)][1]
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (reported - left) / (right - left)
