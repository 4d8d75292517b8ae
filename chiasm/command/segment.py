"""`chiasm segment`: find a thing in a picture and its outline."""

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


def segment(
    image: Image,
    thing: Annotated[str, typer.Argument(help="What to find.", show_default=False)],
    address: Address = DEFAULT_ADDRESS,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    max_tokens: MaxTokens = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Find a thing in a picture and its outline."""
    call = Call(address, model, timeout, max_tokens, json)
    show_found("segment", Task.SEGMENT, image, thing, call, out)
