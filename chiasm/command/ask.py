"""`chiasm ask`: ask a question about a picture."""

from typing import Annotated

import typer

from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Image, Json, MaxTokens, Model, Timeout
from chiasm.command.run import Call, show_text
from chiasm.options import Task


def ask(
    image: Image,
    question: Annotated[str, typer.Argument(help="What to ask, in words.", show_default=False)],
    address: Address = DEFAULT_ADDRESS,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    max_tokens: MaxTokens = None,
    json: Json = False,
) -> None:
    """Ask a question about a picture."""
    call = Call(address, model, timeout, max_tokens, json)
    show_text("ask", Task.ANSWER, image, question, call)
