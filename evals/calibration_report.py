"""What a cascade costs and how good its answers are, beside either model alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiasm import InvalidArgument, Task
from evals.calibration import (
    Answers,
    Cascade,
    Outcome,
    always_large,
    always_small,
    calibrated,
    calibration_error,
    choose,
    halves,
    replay,
)
from evals.pairing import Paired

_CURVE = 64


@dataclass(frozen=True)
class TaskReport:
    """Of a task, or of all together."""

    small: Outcome
    """Always the small model."""
    large: Outcome
    """Always the large one."""
    cascade: Outcome
    """As fitted, on the questions that it was fitted to."""
    unseen: Outcome
    """Each half of the questions by what was fitted to the other: what to expect of other questions."""
    error_reported: float
    """Expected calibration error of the confidence as the small model reports it."""
    error_calibrated: float
    """The same once calibrated, on the half that it was not fitted to."""


@dataclass(frozen=True)
class CalibrationReport:
    """Of two models over the tasks that both were asked."""

    small: str
    large: str
    cascades: Mapping[Task, Cascade]
    tasks: Mapping[Task, TaskReport]
    whole: TaskReport
    curve: Sequence[Outcome]
    """All tasks together, from never asking the large model to always: one threshold for all."""

    def lines(self) -> list[str]:
        """A line a task, and one for all."""
        named = {**{str(task): one for task, one in self.tasks.items()}, "all": self.whole}
        return [_line(name, one) for name, one in named.items()]


def calibrate(paired: Paired, target: float | None) -> CalibrationReport:
    """Fits each task. Raises InvalidArgument where no threshold surely keeps the target, or the large model's quality
    less a point, and where all questions of a task share a group, so that none are left to look at."""
    cascades = {task: choose(answers, target) for task, answers in paired.tasks.items()}
    for task, cascade in cascades.items():
        answers = paired.tasks[task]
        if cascade.min_confidence > 1 or not all(len(half.small) for half in halves(answers)):
            raise _hopeless(task, answers, target)
    tasks = {task: _report(answers, cascades[task], target) for task, answers in paired.tasks.items()}
    return CalibrationReport(
        small=paired.small,
        large=paired.large,
        cascades=cascades,
        tasks=tasks,
        whole=_together(list(tasks.values())),
        curve=_curve(paired.tasks, cascades),
    )


def _report(answers: Answers, cascade: Cascade, target: float | None) -> TaskReport:
    unseen, confidence, quality = [], [], []
    for fitted, other in (halves(answers), halves(answers)[::-1]):
        chosen = choose(fitted, target)
        unseen.append(replay(other, chosen))
        answered = other.confidence >= 0
        confidence.append(calibrated(chosen.points, other.confidence[answered]))
        quality.append(other.small[answered])
    answered = answers.confidence >= 0
    return TaskReport(
        small=always_small(answers),
        large=always_large(answers),
        cascade=replay(answers, cascade),
        unseen=_mean(unseen),
        error_reported=calibration_error(answers.confidence[answered], answers.small[answered]),
        error_calibrated=calibration_error(np.concatenate(confidence), np.concatenate(quality)),
    )


def _curve(tasks: Mapping[Task, Answers], cascades: Mapping[Task, Cascade]) -> list[Outcome]:
    worth = np.concatenate([calibrated(cascades[task].points, answers.confidence) for task, answers in tasks.items()])
    return [
        _mean([replay(answers, replace(cascades[task], min_confidence=threshold)) for task, answers in tasks.items()])
        for threshold in [*np.unique(np.quantile(worth, np.linspace(0, 1, _CURVE))), 2.0]
    ]


def _together(reports: Sequence[TaskReport]) -> TaskReport:
    weights = [report.small.questions for report in reports]
    return TaskReport(
        small=_mean([report.small for report in reports]),
        large=_mean([report.large for report in reports]),
        cascade=_mean([report.cascade for report in reports]),
        unseen=_mean([report.unseen for report in reports]),
        error_reported=float(np.average([report.error_reported for report in reports], weights=weights)),
        error_calibrated=float(np.average([report.error_calibrated for report in reports], weights=weights)),
    )


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    """Of questions of several kinds."""
    weights = [outcome.questions for outcome in outcomes]

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=weights))

    return Outcome(
        questions=sum(weights),
        quality=mean([outcome.quality for outcome in outcomes]),
        nanousd=mean([outcome.nanousd for outcome in outcomes]),
        escalated=mean([outcome.escalated for outcome in outcomes]),
    )


def _line(name: str, report: TaskReport) -> str:
    cascade, unseen = report.cascade, report.unseen
    return (
        f"{name}: {cascade.questions} questions; right: small {report.small.quality:.1%}, "
        f"large {report.large.quality:.1%}, cascade {cascade.quality:.1%} with {cascade.escalated:.1%} escalated "
        f"(unseen {unseen.quality:.1%} with {unseen.escalated:.1%}); "
        f"calibration error {report.error_reported:.3f}, now {report.error_calibrated:.3f}"
    )


def _hopeless(task: Task, answers: Answers, target: float | None) -> InvalidArgument:
    wanted = "the large model's quality less a point" if target is None else f"{target:g}"
    message = (
        f"{task}: no threshold surely keeps {wanted} on {len(answers.small)} questions, of which the small model "
        f"answers {answers.small.mean():.1%} right and the large one {answers.large.mean():.1%}: ask more questions"
    )
    return InvalidArgument(message, reason="FIELD_INVALID", field="target")
