"""`chiasm detect`: find things in a picture, and print their boxes in pixels."""

from typing import Annotated

import typer

from chiasm.command.options import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_S,
    Address,
    Image,
    Json,
    MaxTokens,
    Model,
    Out,
    Timeout,
)
from chiasm.command.run import Call, show_found
from chiasm.options import Task


def detect(
    image: Image,
    things: Annotated[str, typer.Argument(help="What to find: 'circle ; square'.", show_default=False)],
    address: Address = DEFAULT_ADDRESS,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    max_tokens: MaxTokens = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Find things in a picture, and print their boxes in pixels."""
    call = Call(address, model, timeout, max_tokens, json)
    show_found("detect", Task.DETECT, image, things, call, out)
