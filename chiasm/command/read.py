"""`chiasm read`: read the text in a picture."""

from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Image, Json, MaxTokens, Model, Timeout
from chiasm.command.run import Call, show_text
from chiasm.options import Task


def read(
    image: Image,
    address: Address = DEFAULT_ADDRESS,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    max_tokens: MaxTokens = None,
    json: Json = False,
) -> None:
    """Read the text in a picture."""
    call = Call(address, model, timeout, max_tokens, json)
    show_text("read", Task.READ_TEXT, image, "", call)
