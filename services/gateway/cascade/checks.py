"""Checks of a whole answer's form: what shows without a look at the picture that it cannot be right."""

import json
import re
from collections.abc import Iterator

from chiasm.v1 import generation_pb2
from services.gateway.cascade.boxes import box_faults
from services.gateway.cascade.faults import Fault
from services.runtime.json_validation import Validator

_FINDING = (generation_pb2.TASK_DETECT, generation_pb2.TASK_SEGMENT)
_ASKS_NUMBER = re.compile(r"\b(how many|what('s| is) the (value|number|count|sum|total|average) of)\b", re.I)
_NUMBER = re.compile(
    r"\d|\b(no|none|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen"
    r"|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand"
    r"|million|billion|half)\b",
    re.I,
)
_REPEATS, _LONGEST_REPEATED = 6, 40  # times, characters


def faults_of(request: generation_pb2.GenerateRequest, text: str, finished: generation_pb2.Finished) -> Iterator[Fault]:
    """Everything that is wrong with the form of `text`, a whole answer to `request`."""
    cut = finished.finish_reason == generation_pb2.FINISH_REASON_MAX_TOKENS
    if cut and not request.config.HasField("max_tokens"):
        yield Fault.CUT
    if request.config.json_schema:
        if not _is_of(request.config.json_schema, text):
            yield Fault.NOT_OF_SCHEMA
        return
    if request.task in _FINDING:
        yield from box_faults(request, text, finished.detections)
        return
    if _ends_in_repeats(text):
        yield Fault.REPETITION
    if request.task == generation_pb2.TASK_ANSWER and _asks_number(request) and not _NUMBER.search(text):
        yield Fault.NO_NUMBER


def _ends_in_repeats(text: str) -> bool:
    """In the same words or letters over and over, punctuation aside; numbers may well repeat."""
    words = " ".join(re.findall(r"\w+", text[-2 * _REPEATS * _LONGEST_REPEATED :]))
    for end in (words, f"{words} "):
        for size in range(1, _LONGEST_REPEATED + 1):
            repeated = end[-size:]
            if end.endswith(_REPEATS * repeated) and any(map(str.isalpha, repeated)):
                return True
    return False


def _asks_number(request: generation_pb2.GenerateRequest) -> bool:
    return any(_ASKS_NUMBER.search(part.text) for part in request.messages[-1].parts)


def _is_of(schema: str, text: str) -> bool:
    """Whether `text` is JSON of `schema`; of what is no schema, anything is: who answers says so."""
    try:
        validator = Validator(schema)
    except ValueError:
        return True
    try:
        validator.check(json.loads(text))
    except (ValueError, RecursionError):
        return False
    return True
