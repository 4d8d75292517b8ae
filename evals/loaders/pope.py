"""POPE on COCO, as https://github.com/AoiDragon/POPE publishes it in `output/coco/`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chiasm import Task
from evals.loaders.records import PicturePath, bad_data, picture, read_json_lines
from evals.suite import Item

LAYOUT = "coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json (any of them) and val2014/"
_SETTINGS = ("random", "popular", "adversarial")


@dataclass(frozen=True)
class _Question:
    question_id: int
    image: PicturePath
    text: str
    label: Literal["yes", "no"]


def pope(folder: Path) -> list[Item]:
    """The questions of each setting that `folder` holds; it holds `LAYOUT`."""
    files = {setting: folder / f"coco_pope_{setting}.json" for setting in _SETTINGS}
    items = [item for setting, file in files.items() if file.exists() for item in _setting(setting, file)]
    if not items:
        raise bad_data(f"{folder} holds no question of POPE; expected {LAYOUT}")
    return items


def _setting(setting: str, file: Path) -> list[Item]:
    return [
        Item(
            f"{setting}-{question.question_id}",
            setting,
            Task.ANSWER,
            (question.text,),
            (picture(f"{where}: image", file.parent / "val2014" / question.image),),
            (question.label,),
            group=question.image,
        )
        for where, question in read_json_lines(file, _Question)
    ]
