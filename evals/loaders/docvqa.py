"""DocVQA and InfographicVQA, as the Robust Reading Competition publishes them: https://rrc.cvc.uab.es/?ch=17."""

from dataclasses import dataclass
from pathlib import Path

from chiasm import Task
from evals.loaders.records import PicturePath, one_of, picture, read_json
from evals.suite import Item

DOCVQA_LAYOUT = "val_v1.0_withQT.json or val_v1.0.json, with documents/ or spdocvqa_images/ beside it or above"
INFOVQA_LAYOUT = "infographicsVQA_val_v1.0_withQT.json, with infographicsvqa_images/ or images/ beside it or above"


@dataclass(frozen=True)
class _Document:
    questionId: int
    question: str
    answers: list[str]
    image: PicturePath
    question_types: list[str] | None = None


@dataclass(frozen=True)
class _Infographic:
    questionId: int
    question: str
    answers: list[str]
    image_local_name: PicturePath
    answer_type: list[str] | None = None


@dataclass(frozen=True)
class _Documents:
    data: list[_Document]


@dataclass(frozen=True)
class _Infographics:
    data: list[_Infographic]


def docvqa(folder: Path) -> list[Item]:
    """The validation questions of single-page DocVQA; `folder` holds `DOCVQA_LAYOUT`, also one folder down."""
    names = ("val_v1.0_withQT.json", "val_v1.0.json")
    file = one_of(folder, (*names, *(f"*/{name}" for name in names)))
    return [
        _item(
            question,
            (question.question_types or ["document"])[0],
            Task.OPEN,  # PaliGemma's transfer has the bare question as its prompt
            file,
            f"{file}: data[{index}].image",
            [question.image, f"spdocvqa_images/{Path(question.image).name}"],
        )
        for index, question in enumerate(read_json(file, _Documents).data)
    ]


def infovqa(folder: Path) -> list[Item]:
    """The validation questions of InfographicVQA; `folder` holds `INFOVQA_LAYOUT`, also one folder down."""
    names = ("infographicsVQA_val_v1.0_withQT.json", "infographicsVQA_val_v1.0.json", "infographicVQA_val_v1.0.json")
    file = one_of(folder, (*names, *(f"*/{name}" for name in names)))
    return [
        _item(
            question,
            (question.answer_type or ["infographic"])[0],
            Task.ANSWER,
            file,
            f"{file}: data[{index}].image_local_name",
            [f"{images}/{question.image_local_name}" for images in ("infographicsvqa_images", "images")],
        )
        for index, question in enumerate(read_json(file, _Infographics).data)
    ]


def _item(question: _Document | _Infographic, kind: str, task: Task, file: Path, where: str, images: list[str]) -> Item:
    places = [home / image for home in (file.parent, file.parent.parent) for image in images]
    return Item(
        str(question.questionId),
        kind,
        task,
        (question.question,),
        (picture(where, *places),),
        tuple(question.answers),
        group=images[0],
    )
