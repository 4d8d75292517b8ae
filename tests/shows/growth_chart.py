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
    """Three panels over the number of pages. Scales are logarithmic but for recall's: what grows as the pages do is
    drawn as steep as the dashed line.
    """
    panels = [
        _Panel("latency, ms", {"p50": lambda each: each.p50_ms, "p99": lambda each: each.p99_ms}, _log_scale),
        _Panel("recall at 10", {"": lambda each: each.recall}, lambda values: (min(0.9, *values), 1.0)),
        _Panel("MB on disk", {"": lambda each: each.size_bytes / 1e6}, _log_scale),
    ]
    drawn = "".join(panel.draw(growth, _LEFT + index * (_WIDTH + _GAP)) for index, panel in enumerate(panels))
    width, height = 3 * (_WIDTH + _GAP) + _LEFT, _HEIGHT + 2 * _TOP
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{drawn}</svg>\n'
    )


def _log_scale(values: Sequence[float]) -> tuple[float, float]:
    """Its ends, with room at both."""
    return min(values) / 2, max(values) * 2


@dataclass(frozen=True)
class _Panel:
    title: str
    lines: dict[str, Callable[[Growth], float]]
    scale: Callable[[Sequence[float]], tuple[float, float]]

    def draw(self, growth: Sequence[Growth], left: float) -> str:
        bottom, top = self.scale([value(each) for value in self.lines.values() for each in growth])
        log_scale = self.scale is _log_scale
        first, last = growth[0].pages, growth[-1].pages

        def x(pages: float) -> float:
            return left + _WIDTH * log(pages / first) / log(last / first)

        def y(value: float) -> float:
            share = log(value / bottom) / log(top / bottom) if log_scale else (value - bottom) / (top - bottom)
            return _TOP + _HEIGHT * (1 - share)

        parts = [
            f'<text x="{left}" y="{_TOP - 20}" font-weight="bold">{self.title}</text>',
            f'<path d="M{left} {_TOP}V{_TOP + _HEIGHT}H{left + _WIDTH}" fill="none" stroke="black"/>',
        ]
        if log_scale:
            begin = next(iter(self.lines.values()))(growth[0])
            end = min(top, begin * last / first)
            parts.append(
                f'<path d="M{x(first):.1f} {y(begin):.1f}L{x(first * end / begin):.1f} {y(end):.1f}" '
                'stroke="#999" stroke-dasharray="4 4"/>'
            )
        parts += [
            f'<text x="{x(each.pages):.0f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{each.pages:,}</text>'
            for each in growth
        ]
        for (name, value), colour, beside in zip(self.lines.items(), ("#2060c0", "#c05020"), (16, -14), strict=False):
            points = [(x(each.pages), y(value(each)), value(each)) for each in growth]
            path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for px, py, number in points:
                parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
                told = f"{name} {float(f'{number:.3g}'):,g}"
                parts.append(f'<text x="{px + 6:.0f}" y="{py + beside:.0f}" fill="{colour}">{told}</text>')
        return "".join(parts)
