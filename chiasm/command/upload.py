"""`chiasm upload`: store a file at the gateway, to ask about it by its name."""

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Json, Timeout
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.errors import InvalidArgument


def upload(
    file: Annotated[Path, typer.Argument(help="A picture, document, film or sound.", show_default=False)],
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Store a file at the gateway for a while, and print its name: ask takes that in the place of a picture."""
    with explained(address, as_json=json), command_span("upload"), Client(address, timeout_s=timeout) as client:
        try:
            stored = client.upload(file)
        except OSError as error:
            message = f"cannot read {file}: {error.strerror or error}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="file") from error
        if json:
            print(json_text.dumps(asdict(stored), default=lambda time: time.isoformat()), flush=True)
            return
        print(stored.name, flush=True)
        kind = stored.mime_type or "a file of an unknown type"
        note(f"{kind}, {stored.size_bytes:,} bytes, kept until {stored.expires.astimezone():%Y-%m-%d %H:%M}")
