"""`chiasm index`: put a folder's pictures, PDFs, films and texts into a collection."""

import json as json_text
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import SHORT, explained
from chiasm.command.folder import Folder, field_types, look_into, read_metadata
from chiasm.command.index_view import IndexView
from chiasm.command.indexing import Indexing, Tally
from chiasm.command.options import DEFAULT_ADDRESS, Address, Json
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.convert import model_name
from chiasm.errors import InvalidArgument, NotFound
from chiasm.search import Collection, FieldType, Precision

GO_ON = "run the same command again to go on"


def index(
    folder: Annotated[Path, typer.Argument(help="Where the files are; hidden ones are left out.", show_default=False)],
    collection: Annotated[str, typer.Option(help="Where to put them; made when it is absent.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="Of a new collection: NAME or models/NAME, where the server has several.")
    ] = "",
    precision: Annotated[
        Precision, typer.Option(help="Of a new collection: how it keeps its vectors' numbers.")
    ] = Precision.UNSPECIFIED,
    pool_factor: Annotated[
        int | None,
        typer.Option(min=1, max=16, help="Of a new collection of several vectors a page: how many become one."),
    ] = None,
    captions: Annotated[bool, typer.Option(help="NAME.txt beside a file NAME.* is its caption.")] = True,
    metadata: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help='JSON lines with the metadata of files: {"id": "below/folder.png", "colour": "red"}.',
            show_default=False,
        ),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Index a folder's pictures, PDFs, films and texts, to be found by `chiasm search`.

    What is stored already is passed over, so that an interrupted run is simply begun again.
    """
    with explained(address, as_json=json, late=GO_ON) as told, command_span("index"), Client(address) as client:
        said = read_metadata(metadata) if metadata else {}
        fields = field_types(said)
        found = look_into(folder, captions=captions, metadata=said)
        try:
            _check(client.get_collection(collection), model, precision, pool_factor, fields)
        except NotFound:
            client.create_collection(
                collection, model=model, precision=precision, pool_factor=pool_factor or 1, fields=fields
            )
        _index(client, collection, found, told, as_json=json)


def _check(
    there: Collection, model: str, precision: Precision, pool_factor: int | None, fields: Mapping[str, FieldType]
) -> None:
    """Raises InvalidArgument where the collection is another than the one asked for."""
    for field, wanted, has in (
        ("model", model and model_name(model), there.model),
        ("precision", precision is not Precision.UNSPECIFIED and precision, there.precision),
        ("pool-factor", pool_factor, there.pool_factor),
    ):
        if wanted and wanted != has:
            message = f"{there.name} has {has}, not {wanted}: leave --{field} out, or name another collection"
            raise InvalidArgument(message, reason="FIELD_INVALID", field=field)
    for name, kind in fields.items():
        has = there.fields.get(name)
        if has != kind and (has, kind) != (FieldType.NUMBER, FieldType.INTEGER):
            message = f"in {there.name} {name!r} is {has or 'no field'}, and in the metadata {kind}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="metadata")


def _index(client: Client, collection: str, found: Folder, told: dict[str, object], *, as_json: bool) -> None:
    """`told` gets what has become of the files, however it ends."""
    begun = time.monotonic()
    indexing = Indexing(client, collection, found, lambda: view.tell(indexing.tally))
    view, tally = IndexView(indexing.tally.total), indexing.tally
    try:
        with view:
            indexing.run()
    except BaseException:
        if tally.stored:
            note(f"{tally.stored:,} files are stored: {GO_ON}")
        raise
    finally:
        told |= {"collection": collection, "skipped": found.skipped} | _as_json(tally)
        if not as_json:
            view.report(tally, found.skipped, time.monotonic() - begun)
    if as_json:
        print(json_text.dumps(told, ensure_ascii=False), flush=True)
    if tally.failures:
        sys.stdout.flush()
        raise typer.Exit(SHORT)


def _as_json(tally: Tally) -> dict[str, object]:
    failures = [
        {"id": name, "code": getattr(error, "code", "OSError"), "message": str(error)}
        for name, error in tally.failures.items()
    ]
    return {
        "files": tally.total,
        "stored": tally.stored,
        "unchanged": tally.unchanged,
        "entries": tally.entries,
        "failures": failures,
    }
