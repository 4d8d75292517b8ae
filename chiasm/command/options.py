"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from chiasm.channel import DEFAULT_ADDRESS
from chiasm.client import DEFAULT_TIMEOUT_S

Image = Annotated[Path, typer.Argument(help="A picture file, or an upload's name.", show_default=False)]
Address = Annotated[str, typer.Option(envvar="CHIASM_ADDRESS", help="The gateway, as HOST:PORT.")]
Model = Annotated[str, typer.Option(help="NAME or models/NAME. The gateway decides when left out.")]
Timeout = Annotated[float, typer.Option(min=0.001, max=86_400, help="Seconds for the whole answer.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, max=2**31 - 1, help="Most tokens to write. The model decides when left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, errors too.")]
Out = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Draw what is found on the picture, and write it to this file.")
]

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_TIMEOUT_S", "Address", "Image", "Json", "MaxTokens", "Model", "Out", "Timeout"]
