"""What was found, for a person and as JSON."""

import sys
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from chiasm.client import Client
from chiasm.command.console import stdout_console, table_of
from chiasm.command.terminal import printable
from chiasm.errors import InvalidArgument
from chiasm.search import Hit

_SHOWN = 160
"""Characters of a text that a table shows."""


def chosen_collection(client: Client, name: str) -> str:
    """The one that is named, or else the only one. Raises InvalidArgument."""
    if name:
        return name
    names = [collection.name.removeprefix("collections/") for collection in client.list_collections()]
    if len(names) == 1:
        return names[0]
    there = f"there are {', '.join(names)}" if names else "there is none: make one with `chiasm index`"
    raise InvalidArgument(f"name a collection with --collection: {there}", reason="FIELD_REQUIRED", field="collection")


def show_hits(hits: Sequence[Hit]) -> None:
    """A line each, the best first."""
    table = table_of("RANK", "SCORE", "DOCUMENT", "PART", "TEXT")
    table.columns[0].justify = table.columns[1].justify = "right"
    for column in (*table.columns[:2], table.columns[3]):
        column.no_wrap = True
    for rank, hit in enumerate(hits, 1):
        text = " ".join(hit.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        cells = (str(rank), f"{hit.score:.3f}", hit.document_id, part_of(hit), shown)
        table.add_row(*(Text(printable(cell, sys.stdout)) for cell in cells))
    stdout_console().print(table)


def part_of(hit: Hit) -> str:
    """Where in the document: `page 3`, `0:12 to 0:15`; empty for a whole one."""
    if hit.page is not None:
        return f"page {hit.page}"
    if hit.start_s is not None and hit.end_s is not None:
        return f"{_clock(hit.start_s)} to {_clock(hit.end_s)}"
    return ""


def hit_as_json(hit: Hit) -> dict[str, object]:
    """All but its picture."""
    return {
        "document_id": hit.document_id,
        "score": hit.score,
        "page": hit.page,
        "start_s": hit.start_s,
        "end_s": hit.end_s,
        "text": hit.text,
        "metadata": {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in hit.metadata.items()
        },
        "width": hit.width,
        "height": hit.height,
        "words": [{"word": match.word, "score": match.score, "heat": match.heat} for match in hit.words],
    }


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
