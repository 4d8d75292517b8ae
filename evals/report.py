"""What a run came to: its measures, its counts and its worst failures, as data and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from evals.figures import Figure
from evals.journal import Record, RunOf
from evals.scoring import Measured, aggregate, quality
from evals.suite import Item, Scores, Suite


@dataclass(frozen=True)
class Scored:
    """An item, what became of it, and its scores."""

    item: Item
    record: Record
    scores: Scores
    quality: float
    """1 is as good as can be."""


@dataclass(frozen=True)
class Totals:
    """What a run took, every session of it."""

    items: int
    failed: int
    """Items that no answer came for; they count as wrong."""
    retries: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int
    median_seconds: float
    """Of a reply, as the client saw it; p95 likewise."""
    p95_seconds: float


@dataclass(frozen=True)
class Report:
    """All that is known of a run."""

    run_of: RunOf
    about: str
    address: str
    date: str
    """When it was scored: ISO 8601, UTC."""
    seconds: float
    """How long this session of it took."""
    totals: Totals
    measured: tuple[Measured, ...]
    by_kind: Mapping[str, tuple[Measured, ...]]
    scored: tuple[Scored, ...]
    """The worst first."""

    @property
    def figures(self) -> list[Figure]:
        """The measures that have a target."""
        return [figure for measured in self.measured if (figure := measured.figure)]

    @property
    def trouble(self) -> str:
        """How many items failed, and why the first did; empty where none did."""
        if not self.totals.failed:
            return ""
        first = next(scored.record.error for scored in self.scored if scored.record.error)
        return f"{self.totals.failed} of {self.totals.items} items failed and count as wrong, such as: {first}"

    def lines(self) -> list[str]:
        """A line a measure: the figure where it has a target, else its value with its 95 % interval."""
        return [
            str(found.figure or f"{found.measure.name} {found.value:.4g} [{found.low:.4g}, {found.high:.4g}]")
            for found in self.measured
        ]


def score(suite: Suite, item: Item, record: Record) -> Scored:
    """One item scored; without replies where it failed."""
    scores = suite.score(item, record.replies)
    return Scored(item, record, scores, quality(suite, scores))


def measures(suite: Suite, scored: Sequence[Scored]) -> tuple[Measured, ...]:
    """Those of the suite's measures that `scored` has something of."""
    scores, groups = [one.scores for one in scored], [one.item.group or one.item.id for one in scored]
    return tuple(found for one in suite.measures if (found := aggregate(one, scores, groups)))


def build(suite: Suite, run_of: RunOf, scored: Sequence[Scored], *, address: str, date: str, seconds: float) -> Report:
    """Sums up a run that is through."""
    by_kind = groupby(sorted(scored, key=_kind), key=_kind)
    return Report(
        run_of=run_of,
        about=suite.about,
        address=address,
        date=date,
        seconds=seconds,
        totals=_totals([one.record for one in scored]),
        measured=measures(suite, scored),
        by_kind={kind: measures(suite, list(of_kind)) for kind, of_kind in by_kind},
        scored=tuple(sorted(scored, key=lambda one: (not one.record.error, one.quality))),
    )


def write_json(report: Report, path: Path) -> None:
    """Writes all but the items, which `results.jsonl` holds. Money in nano-US-dollars, times in seconds."""
    told = {
        **asdict(report.run_of),
        "about": report.about,
        "address": report.address,
        "date": report.date,
        "seconds": round(report.seconds, 3),
        "totals": asdict(report.totals),
        "measures": [_told(measured) for measured in report.measured],
        "by_kind": {kind: [_told(measured) for measured in found] for kind, found in report.by_kind.items()},
    }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _kind(scored: Scored) -> str:
    return scored.item.kind


def _totals(records: Sequence[Record]) -> Totals:
    replies = [reply for record in records for reply in record.replies]
    median, p95 = np.percentile([reply.seconds for reply in replies] or [0.0], (50, 95))
    return Totals(
        items=len(records),
        failed=sum(bool(record.error) for record in records),
        retries=sum(record.retries for record in records),
        input_tokens=sum(reply.input_tokens for reply in replies),
        output_tokens=sum(reply.output_tokens for reply in replies),
        cost_nanousd=sum(reply.cost_nanousd for reply in replies),
        median_seconds=round(float(median), 4),
        p95_seconds=round(float(p95), 4),
    )


def _told(measured: Measured) -> dict[str, object]:
    figure = measured.figure
    return {
        "name": measured.measure.name,
        "value": measured.value,
        "interval_95": [measured.low, measured.high],
        "items": measured.items,
        "better": measured.measure.better,
        "target": measured.measure.target,
        "ok": figure.ok if figure else None,
    }
