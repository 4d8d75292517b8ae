"""ChartQA, as https://github.com/vis-nlp/ChartQA publishes it in `ChartQA Dataset/`."""

from dataclasses import dataclass
from pathlib import Path

from chiasm import Task
from evals.loaders.records import PicturePath, picture, read_json
from evals.suite import Item

LAYOUT = "test/test_human.json, test/test_augmented.json and test/png/"
_HALVES = ("human", "augmented")


@dataclass(frozen=True)
class _Question:
    imgname: PicturePath
    query: str
    label: str


def chartqa(folder: Path) -> list[Item]:
    """The test questions, human-written and generated; `folder` holds `LAYOUT`."""
    return [item for half in _HALVES for item in _half(folder / "test", half)]


def _half(folder: Path, half: str) -> list[Item]:
    file = folder / f"test_{half}.json"
    return [
        Item(
            f"{half}-{index}",
            half,
            Task.OPEN,  # PaliGemma's transfer has the bare question as its prompt
            (question.query,),
            (picture(f"{file}: [{index}].imgname", folder / "png" / question.imgname),),
            (question.label,),
            group=question.imgname,
        )
        for index, question in enumerate(read_json(file, list[_Question]))
    ]
