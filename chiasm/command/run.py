"""Asks a question about a picture and shows the answer; what ask, caption, read, detect and segment share."""

import sys
from dataclasses import dataclass
from pathlib import Path

from chiasm.client import AnswerStream, Client
from chiasm.command.failures import explained
from chiasm.command.report import as_json, found_line, summary
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note, printable
from chiasm.errors import InvalidArgument
from chiasm.images import image_source
from chiasm.options import Options, Task
from chiasm.results import Answer, Delta, Superseded

_SUPERSEDED = {
    "broken": "its stream broke",
    "slow": "it was too slow",
    "unsure": "it was not sure enough",
    "no_answer": "it gave no answer",
}


@dataclass(frozen=True)
class Call:
    """What the commands' shared options say."""

    address: str
    model: str
    timeout_s: float
    max_tokens: int | None
    json: bool


def show_text(command: str, task: Task, image: Path, prompt: str, call: Call) -> None:
    """Asks, and prints the answer's text as it comes, or one JSON object."""
    with explained(call.address, as_json=call.json), command_span(command):
        answer = _ask(task, read_image(image), prompt, call, live=not call.json)
        if call.json:
            print(as_json(answer), flush=True)
        else:
            note(summary(answer))


def show_found(command: str, task: Task, image: Path, prompt: str, call: Call, out: Path | None) -> None:
    """Asks, and prints what was found, a line each, or one JSON object; draws it on the picture in `out` if given."""
    with explained(call.address, as_json=call.json), command_span(command):
        picture = read_image(image)
        if out:
            from chiasm.command.draw import check_writable, write

            if isinstance(picture, str):
                raise InvalidArgument("draws on a picture's file alone", reason="FIELD_INVALID", field="out")
            check_writable(out)
        answer = _ask(task, picture, prompt, call, live=False)
        if out:
            write(picture, answer.detections, out)
        if call.json:
            print(as_json(answer), flush=True)
            return
        for detection in answer.detections:
            print(printable(found_line(detection), sys.stdout), flush=True)
        if not answer.detections:
            note("nothing was found")
        if out:
            note(f"drawn in {out}")
        note(summary(answer))


def read_image(image: Path) -> bytes | str:
    """The picture's bytes, or the upload's name that was given in its place. Raises InvalidArgument."""
    try:
        return image_source(str(image))
    except OSError as error:
        message = f"cannot read {image}: {error.strerror or error}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field="image") from error


def _ask(task: Task, picture: bytes | str, prompt: str, call: Call, *, live: bool) -> Answer:
    """The answer; its text goes to stdout as it comes when `live`."""
    options: Options = {"model": call.model, "timeout_s": call.timeout_s}
    if call.max_tokens is not None:
        options["max_tokens"] = call.max_tokens
    with Client(call.address) as client, client.stream(prompt, [picture], task, **options) as stream:
        _follow(stream, live=live)
        return stream.answer


def _follow(stream: AnswerStream, *, live: bool) -> None:
    line_is_open = False
    try:
        for event in stream:
            if isinstance(event, Delta) and live and event.text:
                sys.stdout.write(printable(event.text, sys.stdout))
                sys.stdout.flush()
                line_is_open = not event.text.endswith("\n")
            elif isinstance(event, Superseded):
                if line_is_open:
                    print(flush=True)
                    line_is_open = False
                why = _SUPERSEDED.get(event.reason, event.reason)
                note(f"the answer starts again with {event.next_model}: {why}")
    finally:
        if line_is_open:
            print(flush=True)
