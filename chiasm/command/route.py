"""`chiasm route`: which model would answer, and why."""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Image, Json, Model, Timeout
from chiasm.command.report import dollars
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.errors import InvalidArgument
from chiasm.images import image_bytes
from chiasm.options import Task
from chiasm.routes import ConsideredModel, RouteExplanation


def route(
    image: Image,
    question: Annotated[str, typer.Argument(help="What would be asked, in words.", show_default=False)] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Show every model, not the first alone.")] = False,
    task: Annotated[Task, typer.Option(help="What would be wanted of the picture.")] = Task.ANSWER,
    address: Address = DEFAULT_ADDRESS,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Tell which model would answer, in which time and at what price, and why. None is asked."""
    with explained(address, as_json=json), command_span("route"), Client(address) as client:
        explanation = client.explain_route(question, [_read(image)], task, model=model, timeout_s=timeout)
        if json:
            print(json_text.dumps(asdict(explanation), ensure_ascii=False), flush=True)
            return
        shown = explanation.considered if explain else [each for each in explanation.considered if each.place == 1]
        if shown:
            print("\n".join(_lines(shown)), flush=True)
        if explanation.refusal:
            note(f"no model would be asked: {explanation.refusal}")
        note(_summary(explanation))


def _lines(models: Sequence[ConsideredModel]) -> list[str]:
    rows = [("ASKED", "MODEL", "SERVER", "FIRST TOKEN", "WHOLE", "COST", "AHEAD", "VERDICT")]
    rows += [
        (
            f"{each.place}" if each.place else "-",
            each.model,
            f"{each.server}",
            _seconds(each.expected_time_to_first_token_s, each),
            _seconds(each.expected_time_s, each),
            dollars(each.expected_cost_nanousd),
            f"{each.outstanding_s:.1f} s",
            _verdict(each),
        )
        for each in models
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _seconds(seconds: float, each: ConsideredModel) -> str:
    return f"{'~' if each.guessed else ''}{seconds:.2f} s"


def _verdict(each: ConsideredModel) -> str:
    if each.min_confidence is None or not each.place:
        return each.verdict
    return f"{each.verdict}; the next one too where its confidence is below {each.min_confidence:g}"


def _summary(explanation: RouteExplanation) -> str:
    guessed = "; ~ is a guess, before answers came" if any(each.guessed for each in explanation.considered) else ""
    return f"policy {explanation.policy_revision}{guessed}"


def _read(image: Path) -> bytes:
    try:
        return image_bytes(image)
    except OSError as error:
        message = f"cannot read {image}: {error.strerror or error}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field="image") from error
