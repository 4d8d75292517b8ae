"""`chiasm models`: what a server can do."""

import json as json_text
from dataclasses import asdict
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Json, Timeout
from chiasm.command.report import dollars
from chiasm.command.telemetry import command_span
from chiasm.results import ModelInfo


def models(
    name: Annotated[str, typer.Argument(help="Only this one: NAME or models/NAME.", show_default=False)] = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """List the models served, and what they do."""
    with explained(address, as_json=json), command_span("models"), Client(address, timeout_s=timeout) as client:
        found = [client.model(name)] if name else client.models()
        if json:
            print(json_text.dumps({"models": [asdict(model) for model in found]}, ensure_ascii=False), flush=True)
        else:
            print("\n".join(_lines(found)), flush=True)


def _lines(models: list[ModelInfo]) -> list[str]:
    rows = [("MODEL", "STATE", "PROVIDER", "PRICE", "TASKS")]
    for model in models:
        state = "ready" if model.ready else "not ready"
        does = " ".join(model.tasks) or ("embed" if model.embedding else "")
        rows.append((model.name, state, model.provider, _price(model), does))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _price(model: ModelInfo) -> str:
    if model.input_nanousd_per_million_tokens is None or model.output_nanousd_per_million_tokens is None:
        return "none"
    per_million = dollars(model.input_nanousd_per_million_tokens), dollars(model.output_nanousd_per_million_tokens)
    return f"{per_million[0]} + {per_million[1]} per million tokens"
