"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from chiasm.channel import DEFAULT_ADDRESS
from chiasm.client import DEFAULT_TIMEOUT_S
from chiasm.search import SearchMode

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

Collection = Annotated[str, typer.Option(help="Where to look; may be left out where there is one alone.")]
Query = Annotated[str, typer.Argument(help="What to find, in words.", show_default=False)]
QueryImage = Annotated[
    Path | None, typer.Option("--image", help="A picture to find the like of: a file, or an upload's name.")
]
Mode = Annotated[SearchMode, typer.Option(help="Compare meaning (vectors), words (BM25), or both.")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="What the metadata must say: 'colour=red|blue', 'pages>=3'. Several must all hold."),
]
Limit = Annotated[int, typer.Option(min=1, max=1_000, help="Most hits.")]
Sheet = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Draw what is found, 100 hits at most, as a sheet into this file.")
]

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_TIMEOUT_S",
    "Address",
    "Collection",
    "Image",
    "Json",
    "Limit",
    "MaxTokens",
    "Mode",
    "Model",
    "Out",
    "Query",
    "QueryImage",
    "Sheet",
    "Timeout",
    "Where",
]
