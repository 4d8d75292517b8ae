"""`chiasm search`: find what is like a text, a picture, or both."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.hits import chosen_collection, hit_as_json, show_hits
from chiasm.command.options import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_S,
    Address,
    Collection,
    Json,
    Limit,
    Mode,
    Query,
    QueryImage,
    Sheet,
    Timeout,
    Where,
)
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.command.where import conditions
from chiasm.errors import InvalidArgument
from chiasm.search import SearchMode, SearchResult


def search(
    text: Query = "",
    collection: Collection = "",
    image: QueryImage = None,
    mode: Mode = SearchMode.MEANING,
    where: Where = None,
    limit: Limit = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every entry, past the index.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw into --out which parts of a page each word matched.")
    ] = False,
    out: Sheet = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Find what is like a text, a picture (--image), or both."""
    with explained(address, as_json=json), command_span("search"), Client(address, timeout_s=timeout) as client:
        _check(text, image, out, explain=explain)
        name = chosen_collection(client, collection)
        filters = conditions(where, client.get_collection(name).fields) if where else []
        try:
            found = client.search(
                name,
                text,
                image and str(image),
                mode=mode,
                limit=limit,
                where=filters,
                exact=exact,
                with_picture=out is not None,
                explain=explain,
            )
        except OSError as error:
            message = f"cannot read {image}: {error.strerror or error}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="image") from error
        if out:
            from chiasm.command.sheet import write_sheet

            write_sheet(found, out, title=text or f"like {image}", explain=explain)
            note(f"drawn in {out}")
        _show(found, as_json=json)


def _check(text: str, image: Path | None, out: Path | None, *, explain: bool) -> None:
    if not text and image is None:
        raise InvalidArgument("give a text, a picture with --image, or both", reason="FIELD_REQUIRED", field="text")
    if explain and not out:
        raise InvalidArgument("--explain draws: name a file with --out", reason="FIELD_REQUIRED", field="out")
    if out:
        from chiasm.command.draw import check_writable

        check_writable(out)


def _show(found: SearchResult, *, as_json: bool) -> None:
    if as_json:
        told = {"hits": [hit_as_json(hit) for hit in found], "model": found.model, "revision": found.revision}
        print(json_text.dumps(told, ensure_ascii=False), flush=True)
    elif found:
        show_hits(found)
    else:
        note("nothing was found")
