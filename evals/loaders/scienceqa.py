"""ScienceQA's questions with a picture, as https://github.com/lupantech/ScienceQA publishes it in `data/scienceqa/`."""

from dataclasses import dataclass
from pathlib import Path

from chiasm import Task
from evals.loaders.records import PicturePath, bad_data, picture, read_json
from evals.metrics.choice import LETTERS, lettered
from evals.suite import Item

LAYOUT = "problems.json and images/test/ID/image.png or test/ID/image.png"
_SPLIT = "test"


@dataclass(frozen=True)
class _Problem:
    question: str
    choices: list[str]
    answer: int
    """Index into `choices`."""
    split: str
    hint: str = ""
    subject: str = "science"
    image: PicturePath | None = None


def scienceqa(folder: Path) -> list[Item]:
    """The test questions that have a picture (IMG); `folder` holds `LAYOUT`. `kind` is the subject."""
    file = folder / "problems.json"
    problems = read_json(file, dict[PicturePath, _Problem])
    return [
        _item(key, problem, f"{file}: {key}", folder)
        for key, problem in problems.items()
        if problem.split == _SPLIT and problem.image
    ]


def _item(key: str, problem: _Problem, where: str, folder: Path) -> Item:
    if not 0 <= problem.answer < len(problem.choices) <= len(LETTERS):
        raise bad_data(f"{where}.answer: expected an index into {len(problem.choices)} choices, found {problem.answer}")
    places = [home / _SPLIT / key / str(problem.image) for home in (folder / "images", folder)]
    return Item(
        key,
        problem.subject,
        Task.ANSWER,
        ("\n".join(filter(None, (problem.hint, problem.question, lettered(problem.choices)))),),
        (picture(f"{where}.image", *places),),
        (LETTERS[problem.answer],),
        options=tuple(problem.choices),
    )
