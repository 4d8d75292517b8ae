"""MMMU, as its Parquet files are published on the Hugging Face hub in `MMMU/MMMU`: https://mmmu-benchmark.github.io."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiasm import Task
from evals.loaders.records import bad_data, checked
from evals.metrics.choice import lettered
from evals.suite import Item, Picture

LAYOUT = "SUBJECT/validation-*.parquet, a folder a subject"
_MOST_PICTURES = 7


@dataclass(frozen=True)
class _Stored:
    """A picture as the hub's `Image` feature stores it."""

    bytes: bytes


@dataclass(frozen=True)
class _Question:
    id: str
    question: str
    options: str
    """A Python list as text."""
    answer: str
    question_type: str


def mmmu(folder: Path) -> list[Item]:
    """The validation questions of each subject that `folder` holds, as `LAYOUT`. `kind` is the subject."""
    files = sorted(folder.glob("*/validation-*.parquet"))
    if not files:
        raise bad_data(f"{folder} holds no {LAYOUT}")
    return [_item(row, f"{file}: row {index}", file) for file in files for index, row in enumerate(_rows(file))]


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow  # it is large, and only this data set needs it
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise bad_data(f"{file}: it is no Parquet: {error}") from error


def _item(row: dict[str, Any], where: str, file: Path) -> Item:
    question = checked(row, _Question, where)
    options = _options(question.options, where)
    prompt = question.question if not options else f"{question.question}\n{lettered(options)}"
    return Item(
        question.id,
        file.parent.name,
        Task.ANSWER,
        (prompt,),
        tuple(_pictures(row, where)),
        (question.answer,) if options else _accepted(question.answer),
        options=options,
    )


def _options(text: str, where: str) -> tuple[str, ...]:
    """Empty for an open question."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise bad_data(f"{where}.options: expected a Python list as text, found {text[:60]!r}") from error
    return tuple(str(option) for option in checked(value, list[str | float], f"{where}.options"))


def _accepted(answer: str) -> tuple[str, ...]:
    """Of an open question: several answers are stored as a Python list as text, a single one as it is."""
    if not answer.startswith("["):
        return (answer,)
    try:
        return tuple(map(str, ast.literal_eval(answer)))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # such as the interval "[0, 1)"
        return (answer,)


def _pictures(row: dict[str, Any], where: str) -> list[Picture]:
    columns = [f"image_{number}" for number in range(1, _MOST_PICTURES + 1)]
    given = [(column, row[column]) for column in columns if row.get(column) is not None]
    if not given:
        raise bad_data(f"{where}: it has no picture in image_1 to image_{_MOST_PICTURES}")
    return [_reading(checked(value, _Stored, f"{where}.{column}")) for column, value in given]


def _reading(stored: _Stored) -> Callable[[], bytes]:
    return lambda: stored.bytes
