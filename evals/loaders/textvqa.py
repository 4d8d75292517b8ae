"""TextVQA 0.5.1, as https://textvqa.org/dataset publishes it."""

from dataclasses import dataclass
from pathlib import Path

from chiasm import Task
from evals.loaders.records import PicturePath, picture, read_json
from evals.suite import Item

LAYOUT = "TextVQA_0.5.1_val.json and train_images/"


@dataclass(frozen=True)
class _Question:
    question_id: int
    question: str
    image_id: PicturePath
    answers: list[str]


@dataclass(frozen=True)
class _Questions:
    data: list[_Question]


def textvqa(folder: Path) -> list[Item]:
    """The validation questions, ten answers each; `folder` holds `LAYOUT`. Pictures are of Open Images' train."""
    file = folder / "TextVQA_0.5.1_val.json"
    return [
        Item(
            str(question.question_id),
            "scene text",
            Task.ANSWER,
            (question.question,),
            (picture(f"{file}: data[{index}].image_id", folder / "train_images" / f"{question.image_id}.jpg"),),
            tuple(question.answers),
            group=question.image_id,
        )
        for index, question in enumerate(read_json(file, _Questions).data)
    ]
