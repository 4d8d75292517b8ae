"""Puts the answers of a small and a large model to the same questions side by side, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiasm import InvalidArgument, Task
from evals.calibration import Answers
from evals.scores import Score, Scores, read_scores


@dataclass(frozen=True)
class Paired:
    """Runs of two models over the same suites."""

    small: str
    """The model's name, as `models/NAME`."""
    large: str
    tasks: dict[Task, Answers]


def pair(small: Sequence[Path], large: Sequence[Path]) -> Paired:
    """The runs in these folders, a suite each. Raises InvalidArgument where they do not fit together."""
    small_runs = {run.run_of.suite: run for run in (read_scores(folder, field="small") for folder in small)}
    large_runs = {run.run_of.suite: run for run in (read_scores(folder, field="large") for folder in large)}
    if small_runs.keys() != large_runs.keys():
        raise _unfit("large", f"suites {', '.join(large_runs)}: the small model was asked {', '.join(small_runs)}")
    pairs: dict[Task, list[tuple[str, Score, Score]]] = {}
    for suite, run in small_runs.items():
        other = large_runs[suite]
        if run.run_of.digest != other.run_of.digest or run.scores.keys() != other.scores.keys():
            raise _unfit("large", f"the two models were not asked the same of {suite}")
        for id, score in run.scores.items():
            if score.confidence is None and not score.failed:
                raise _unfit("small", f"{_model(small_runs.values(), 'small')} tells no confidence: {suite}, {id}")
            pairs.setdefault(score.task, []).append((f"{suite} {score.group}", score, other.scores[id]))
    tasks = {task: _answers(questions) for task, questions in pairs.items()}
    return Paired(_model(small_runs.values(), "small"), _model(large_runs.values(), "large"), tasks)


def _answers(questions: Sequence[tuple[str, Score, Score]]) -> Answers:
    groups, small, large = zip(*questions, strict=True)
    return Answers(
        confidence=np.array([-1.0 if score.confidence is None else score.confidence for score in small]),
        small=np.array([score.quality for score in small]),
        large=np.array([score.quality for score in large]),
        small_nanousd=np.array([score.cost_nanousd for score in small]),
        large_nanousd=np.array([score.cost_nanousd for score in large]),
        groups=np.unique(groups, return_inverse=True)[1],
    )


def _model(runs: Sequence[Scores], field: str) -> str:
    names = {name for run in runs for name in run.run_of.models}
    if len(names) != 1:
        raise _unfit(field, f"these runs are of {len(names)} models: name one with `chiasm eval --model`")
    return names.pop()


def _unfit(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="FIELD_INVALID", field=field)
