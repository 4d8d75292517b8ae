"""RefCOCO's referring expressions, as https://github.com/lichengunc/refer publishes them.

The references come as a Python pickle alone. It is read by an unpickler that knows no class and no function: plain
lists, dicts, texts and numbers load, and anything that could run code is refused.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from chiasm import Box, Detection, Task
from evals.loaders.records import PicturePath, bad_data, checked, one_of, picture, read_json
from evals.suite import Item

LAYOUT = "refs(unc).p, refs(umd).p or refs(google).p, instances.json and train2014/ or ../images/mscoco/train2014/"
_TRAINED_ON = "train"


@dataclass(frozen=True)
class _Sentence:
    sent_id: int
    sent: str


@dataclass(frozen=True)
class _Reference:
    ref_id: int
    ann_id: int
    image_id: int
    split: str
    sentences: list[_Sentence]


@dataclass(frozen=True)
class _Image:
    id: int
    file_name: PicturePath


@dataclass(frozen=True)
class _Annotation:
    id: int
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels."""


@dataclass(frozen=True)
class _Instances:
    images: list[_Image]
    annotations: list[_Annotation]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, where plain lists and texts are expected")


def refcoco(folder: Path) -> list[Item]:
    """Every sentence of the splits val, testA, testB and test; `folder` holds `LAYOUT`. `kind` is the split."""
    file = one_of(folder, ("refs(unc).p", "refs(umd).p", "refs(google).p"))
    references = checked(_unpickled(file), list[_Reference], str(file))
    instances = read_json(folder / "instances.json", _Instances)
    boxes = {annotation.id: annotation.bbox for annotation in instances.annotations}
    names = {image.id: image.file_name for image in instances.images}
    return [
        item
        for index, reference in enumerate(references)
        if reference.split != _TRAINED_ON
        for item in _items(reference, f"{file}: [{index}]", folder, boxes, names)
    ]


def _items(
    reference: _Reference,
    where: str,
    folder: Path,
    boxes: dict[int, tuple[float, float, float, float]],
    names: dict[int, str],
) -> list[Item]:
    if reference.ann_id not in boxes:
        raise bad_data(f"{where}.ann_id: instances.json has no annotation {reference.ann_id}")
    if reference.image_id not in names:
        raise bad_data(f"{where}.image_id: instances.json has no image {reference.image_id}")
    name = names[reference.image_id]
    places = (folder / "train2014" / name, folder.parent / "images" / "mscoco" / "train2014" / name)
    read = picture(f"{where}.image_id", *places)
    x, y, width, height = boxes[reference.ann_id]
    box = Box(x, y, x + width, y + height)
    return [
        Item(
            f"{reference.ref_id}-{sentence.sent_id}",
            reference.split,
            Task.DETECT,
            (sentence.sent.replace(";", ","),),  # what parts the things to find
            (read,),
            boxes=(Detection(sentence.sent, box),),
            group=name,
        )
        for sentence in reference.sentences
    ]


def _unpickled(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            return _PlainUnpickler(opened, encoding="latin-1").load()  # Python 2 wrote it: its `str` are bytes
    except OSError as error:
        raise bad_data(f"cannot read {file}: {error.strerror or error}") from error
    except Exception as error:  # a broken pickle raises whatever its bytes lead to
        raise bad_data(f"{file}: it is no pickle of plain lists and texts: {error}") from error
