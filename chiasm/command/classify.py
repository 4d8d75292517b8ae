"""`chiasm classify`: which of your own labels fits a picture."""

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from chiasm.classification import Classification, LabelMode
from chiasm.client import Client
from chiasm.command.console import bar, has_blocks, stdout_console, table_of
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Image, Json, Model, Timeout
from chiasm.command.run import read_image
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note, printable
from chiasm.errors import InvalidArgument


def classify(
    image: Image,
    labels: Annotated[str, typer.Argument(help="What it may be: 'a cat,a dog'.", show_default=False)],
    template: Annotated[
        str, typer.Option(help="The sentence that each label is put into, in the place of {}.", show_default=False)
    ] = "",
    mode: Annotated[LabelMode, typer.Option(help="Whether one label fits, or each may.")] = LabelMode.UNSPECIFIED,
    model: Model = "",
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the picture and the bars into this file.")
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Say how well each of your labels fits a picture."""
    with explained(address, as_json=json), command_span("classify"), Client(address, timeout_s=timeout) as client:
        picture = read_image(image)
        if out:
            from chiasm.command.draw import check_writable

            if isinstance(picture, str):
                raise InvalidArgument("draws a picture's file alone", reason="FIELD_INVALID", field="out")
            check_writable(out)
        wanted = [label.strip() for label in labels.split(",") if label.strip()]
        found = client.classify(picture, wanted, model=model, template=template, mode=mode)
        if out:
            from chiasm.command.bars import write_bars

            write_bars(picture, found.scores, out)
            note(f"drawn in {out}")
        if json:
            print(json_text.dumps(asdict(found), ensure_ascii=False), flush=True)
        else:
            _show(found)


def _show(found: Classification) -> None:
    console = stdout_console()
    blocks = has_blocks(console)
    table = table_of("LABEL", "PROBABILITY", "")
    table.columns[1].justify = "right"
    for score in found.scores:
        label = Text(printable(score.label, sys.stdout))
        table.add_row(label, f"{score.probability:.3f}", Text(bar(score.probability, blocks=blocks), style="cyan"))
    console.print(table)
    note(f"{found.model}, {found.mode}")
