"""`chiasm collections`: what can be searched."""

import json as json_text
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from chiasm.client import Client
from chiasm.command.console import stdout_console, table_of
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Json, Timeout
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note, printable
from chiasm.errors import NotFound
from chiasm.search import Collection


def collections(
    delete: Annotated[
        str, typer.Option(metavar="NAME", help="Remove this one and all that is in it.", show_default=False)
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """List the collections: what they hold, and how far their index is."""
    with explained(address, as_json=json), command_span("collections"), Client(address, timeout_s=timeout) as client:
        if delete:
            client.delete_collection(delete)
            if json:
                print(json_text.dumps({"deleted": delete}), flush=True)
            else:
                note(f"{delete} is removed")
            return
        found = _found(client)
        if json:
            told = {"collections": [asdict(each) for each in found]}
            print(json_text.dumps(told, ensure_ascii=False, default=lambda time: time.isoformat()), flush=True)
        elif found:
            _show(found)
        else:
            note("there is no collection: make one with `chiasm index`")


def _found(client: Client) -> list[Collection]:
    """Each with its counts, but for those that are removed meanwhile."""
    found = []
    for each in client.list_collections():
        with suppress(NotFound):
            found.append(client.get_collection(each.name))
    return found


def _show(found: list[Collection]) -> None:
    table = table_of("COLLECTION", "DOCUMENTS", "ENTRIES", "MODEL", "VECTORS", "INDEX")
    table.columns[1].justify = table.columns[2].justify = "right"
    for each in found:
        cells = (
            each.name.removeprefix("collections/"),
            f"{each.documents:,}",
            f"{each.entries:,}",
            each.model.removeprefix("models/"),
            f"{each.precision}{', pooled ' + str(each.pool_factor) if each.pool_factor > 1 else ''}",
            _index(each),
        )
        table.add_row(*(Text(printable(cell, sys.stdout)) for cell in cells))
    stdout_console().print(table)


def _index(collection: Collection) -> str:
    state = collection.index
    if state is None or not state.indexed_entries:
        return "none yet: all is compared"
    recall = f", recall {state.recall:.3f}" if state.recall is not None else ""
    left = f", {state.unindexed_entries:,} to come" if state.unindexed_entries else ""
    return f"{state.indexed_entries:,} entries{left}{recall}"
