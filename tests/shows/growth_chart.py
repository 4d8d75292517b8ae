"""How searching pages of several vectors grows with their number, drawn as SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 300, 180, 60, 50, 100


@dataclass(frozen=True)
class Growth:
    """What was measured at so many pages."""

    pages: int
    recall: float
    """At 10, of exact MaxSim's."""
    p50_ms: float
    p99_ms: float
    size_bytes: int
    """On disk."""


def draw(growth: Sequence[Growth], path: Path) -> None:
    """Three panels over the number of pages, whose scale is logarithmic."""
    panels = [
        ("latency, ms", {"p50": lambda each: each.p50_ms, "p99": lambda each: each.p99_ms}),
        ("recall at 10", {"": lambda each: each.recall}),
        ("MB on disk", {"": lambda each: each.size_bytes / 1e6}),
    ]
    drawn = "".join(
        _panel(title, lines, growth, _LEFT + index * (_WIDTH + _GAP)) for index, (title, lines) in enumerate(panels)
    )
    width, height = 3 * (_WIDTH + _GAP) + _LEFT, _HEIGHT + 2 * _TOP
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{drawn}</svg>\n'
    )


def _panel(title: str, lines: dict[str, Callable[[Growth], float]], growth: Sequence[Growth], left: float) -> str:
    top = 1.1 * max(value(each) for value in lines.values() for each in growth)
    first, last = log(growth[0].pages), log(growth[-1].pages)

    def point(each: Growth, value: float) -> tuple[float, float]:
        return left + _WIDTH * (log(each.pages) - first) / (last - first), _TOP + _HEIGHT * (1 - value / top)

    parts = [
        f'<text x="{left}" y="{_TOP - 20}" font-weight="bold">{title}</text>',
        f'<path d="M{left} {_TOP}V{_TOP + _HEIGHT}H{left + _WIDTH}" fill="none" stroke="black"/>',
    ]
    for each in growth:
        x, _ = point(each, 0)
        parts.append(f'<text x="{x:.0f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{each.pages:,}</text>')
    for (name, value), colour in zip(lines.items(), ("#2060c0", "#c05020"), strict=False):
        points = [point(each, value(each)) for each in growth]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for each, (x, y) in zip(growth, points, strict=True):
            parts.append(f'<text x="{x:.0f}" y="{y - 6:.0f}" fill="{colour}">{name} {value(each):.3g}</text>')
    return "".join(parts)
