"""A calibration's report as one HTML file that needs nothing else, with a chart of cost against quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chiasm.command.report import dollars
from evals.calibration import Outcome
from evals.calibration_report import CalibrationReport

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 50
_TICKS = 5

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class Mark:
    """A place in the chart, in its units."""

    x: float
    y: float
    label: str


class Chart:
    """Quality over the cost of 1,000 questions, or over the share escalated where the large model costs nothing."""

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM

    def __init__(self, report: CalibrationReport) -> None:
        whole = report.whole
        self.by_cost = whole.large.nanousd > 0
        shown = [*report.curve, whole.small, whole.large, whole.cascade]
        self._most = max(map(self._x, shown)) or 1.0
        self._low = min(outcome.quality for outcome in shown)
        self._high = max(max(outcome.quality for outcome in shown), self._low + 0.01)
        self.curve = " ".join(f"{mark.x},{mark.y}" for mark in self._marks(report.curve))
        self.named = [
            self._mark(whole.small, "always small"),
            self._mark(whole.large, "always large"),
            self._mark(whole.cascade, "cascade"),
        ]

    @property
    def x_ticks(self) -> list[Mark]:
        values = [self._most * tick / _TICKS for tick in range(_TICKS + 1)]
        told = [f"${value / 10**6:.3g}" if self.by_cost else f"{value:.0%}" for value in values]
        return [Mark(self._right_of(value), self.bottom, label) for value, label in zip(values, told, strict=True)]

    @property
    def y_ticks(self) -> list[Mark]:
        values = [self._low + (self._high - self._low) * tick / _TICKS for tick in range(_TICKS + 1)]
        return [Mark(self.left, self._up_to(value), f"{value:.1%}") for value in values]

    def _x(self, outcome: Outcome) -> float:
        return outcome.nanousd if self.by_cost else outcome.escalated

    def _marks(self, outcomes: Sequence[Outcome]) -> list[Mark]:
        return [self._mark(outcome, "") for outcome in outcomes]

    def _mark(self, outcome: Outcome, label: str) -> Mark:
        return Mark(self._right_of(self._x(outcome)), self._up_to(outcome.quality), label)

    def _right_of(self, value: float) -> float:
        return round(self.left + (self.right - self.left) * value / self._most, 1)

    def _up_to(self, quality: float) -> float:
        return round(self.bottom - (self.bottom - self.top) * (quality - self._low) / (self._high - self._low), 1)


def write_html(report: CalibrationReport, path: Path) -> None:
    """Writes the page. Raises OSError."""
    page = _TEMPLATES.get_template("calibration.html.j2").render(report=report, chart=Chart(report), dollars=dollars)
    path.write_text(page, encoding="utf-8")
