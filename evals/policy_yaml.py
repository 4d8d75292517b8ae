"""Writes what was fitted into the gateway's policy file, and leaves the rest of it, comments too, as it is."""

import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from chiasm import InvalidArgument, Task
from evals.calibration import Cascade
from evals.pairing import Paired

T = TypeVar("T", CommentedMap, CommentedSeq)

_WIDEST = 4_096  # lines are not broken anew


def write_cascades(path: Path, paired: Paired, cascades: Mapping[Task, Cascade]) -> None:
    """Sets the small model's `min_confidence` and `calibration` in each task; the file is made where there is none.

    A task without candidates gets the small model and then the large one. The file is swapped whole. Raises
    InvalidArgument where it is no policy or a task's candidates leave the small model out, OSError where it cannot be
    written.
    """
    yaml, policy = _read(path)
    for task, cascade in cascades.items():
        candidate = _candidate(policy, task, paired)
        candidate["min_confidence"] = cascade.min_confidence
        candidate["calibration"] = CommentedSeq(_flow(point) for point in cascade.points)
    text = StringIO()
    yaml.dump(policy, text)
    _swap(path.resolve(), text.getvalue())


def _read(path: Path) -> tuple[YAML, CommentedMap]:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, _WIDEST
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        policy, _, offset = load_yaml_guess_indent(text, yaml=yaml)
    except (YAMLError, ValueError) as error:
        raise _unfit(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    policy = CommentedMap() if policy is None else policy
    offset = 2 if offset is None else offset  # of a list's dashes
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    if not isinstance(policy, CommentedMap):
        raise _unfit(f"{path} is no policy: it is not a mapping")
    return yaml, policy


def _candidate(policy: CommentedMap, task: Task, paired: Paired) -> CommentedMap:
    """The small model's entry in the task."""
    of_task = _child(_child(policy, "tasks", CommentedMap), str(task), CommentedMap)
    candidates = _child(of_task, "candidates", CommentedSeq)
    if not candidates:
        candidates += [CommentedMap(model=paired.small), CommentedMap(model=paired.large)]
    for candidate in candidates:
        if isinstance(candidate, CommentedMap) and fnmatchcase(paired.small, str(candidate.get("model"))):
            return candidate
    raise _unfit(f"tasks.{task}.candidates do not name {paired.small}")


def _child(parent: CommentedMap, name: str, kind: type[T]) -> T:
    """What has the name, made where there is nothing."""
    if parent.get(name) is None:
        parent[name] = kind()
    if not isinstance(child := parent[name], kind):
        raise _unfit(f"{name} is not what a policy has there")
    return child


def _flow(point: tuple[float, float]) -> CommentedSeq:
    """On one line."""
    sequence = CommentedSeq(point)
    sequence.fa.set_flow_style()
    return sequence


def _swap(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    if path.exists():
        shutil.copymode(path, new)
    os.replace(new, path)


def _unfit(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="FIELD_INVALID", field="policy")
