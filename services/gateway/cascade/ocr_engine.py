"""What a process that reads text does: RapidOCR with the models in its wheel, https://rapidai.github.io/RapidOCRDocs."""

import os
from functools import cache
from pathlib import Path

import rapidocr
from rapidocr import RapidOCR

from services.gateway.cascade.ocr import Line
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits, decode

_LIMITS = ImageLimits()
_LONGEST_SIDE = 2_000  # in pixels; the engine makes larger pictures smaller itself, with more memory
_NICENESS = 10
_MODELS = Path(rapidocr.__file__).parent / "models"


def lines_of(data: bytes) -> list[Line] | None:
    """The lines of a picture, as the engine orders them; None where it is no picture that is read here. Blocks."""
    try:
        picture = decode(data, field="media", limits=_LIMITS).image
    except InvalidArgument:
        return None
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    found = _engine()(picture)
    return [Line(text, float(score)) for text, score in zip(found.txts or (), found.scores or (), strict=True)]


@cache
def _engine() -> RapidOCR:
    """Made once a process, which from then on leaves the processor to the answers that it checks."""
    os.nice(_NICENESS)
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            # Named, they are not looked for elsewhere.
            "Det.model_path": str(_MODELS / "PP-OCRv6_det_small.onnx"),
            "Cls.model_path": str(_MODELS / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
            "Rec.model_path": str(_MODELS / "PP-OCRv6_rec_small.onnx"),
        }
    )
