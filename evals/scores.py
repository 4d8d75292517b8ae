"""How good each answer of a run was, what it cost and how sure its model was: what `chiasm calibrate` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from chiasm import InvalidArgument, Task
from evals.journal import RunOf
from evals.report import Scored

FILE = "scores.json"


@dataclass(frozen=True)
class Score:
    """Of an item."""

    id: str
    group: str
    """Of what it shares with others, such as a picture; its own id where it shares nothing."""
    task: Task
    quality: float
    """By the suite's first measure: 1 is as good as can be, 0 is wrong."""
    confidence: float | None
    """The least of its answers', 0 to 1; None where a server told none, or the item failed."""
    failed: bool
    cost_nanousd: int


@dataclass(frozen=True)
class Scores:
    """Of a run."""

    run_of: RunOf
    scores: Mapping[str, Score]
    """By the item's id."""


_SCORES = TypeAdapter(Scores)


def write_scores(run_of: RunOf, scored: Sequence[Scored], folder: Path) -> None:
    """Writes them into the run's folder."""
    scores = {one.item.id: _score(one) for one in scored}
    (folder / FILE).write_bytes(_SCORES.dump_json(Scores(run_of, scores), indent=1))


def read_scores(folder: Path, *, field: str) -> Scores:
    """Those of a run that is through. Raises InvalidArgument naming `field` where there are none."""
    try:
        return _SCORES.validate_json((folder / FILE).read_bytes())
    except OSError as error:
        message = f"{folder} holds no run of `chiasm eval` that is through: {error.strerror}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field=field) from error
    except ValidationError as error:
        message = f"{folder / FILE} holds no scores: {error.errors()[0]['msg']}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field=field) from error


def _score(scored: Scored) -> Score:
    replies = scored.record.replies
    told = [reply.confidence for reply in replies if reply.confidence is not None]
    return Score(
        id=scored.item.id,
        group=scored.item.group or scored.item.id,
        task=scored.item.task,
        quality=min(1.0, max(0.0, scored.quality)),
        confidence=min(told) if told and len(told) == len(replies) else None,
        failed=bool(scored.record.error),
        cost_nanousd=sum(reply.cost_nanousd for reply in replies),
    )
