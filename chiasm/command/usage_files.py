"""The ledger as a file, and the provider's record from one, with progress on a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, FileSizeColumn, Progress, SpinnerColumn, TextColumn

from chiasm.client import Client
from chiasm.command.terminal import note
from chiasm.errors import InvalidArgument
from chiasm.usage import Reconciliation, UsageFilter

PIECE_BYTES = 2**20


def export_to(client: Client, wanted: UsageFilter, target: str) -> None:
    """Writes the ledger to the file `target`, whole or not at all; to stdout for `-`."""
    pieces = client.export_ledger(wanted)
    if target == "-":
        # Two that write to one terminal would spoil each other.
        _write(pieces, sys.stdout.buffer, shown=not sys.stdout.isatty())
        sys.stdout.buffer.flush()
        return
    part = Path(f"{target}.part")
    with _named("export", target):
        try:
            with part.open("wb") as file:
                lines = _write(pieces, file, shown=True)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    if lines > 1:
        note(f"{lines - 1:,} entries in {target}")
    else:
        note(f"no entry from {wanted.since} to {wanted.until}: {target} has the columns' names alone; try --since 30d")


def reconcile_from(client: Client, file: Path, whole: UsageFilter | None) -> Reconciliation:
    """Corrects the ledger with what `file` holds: every call of the days of `whole`, up to when it was written."""
    with _named("reconcile", str(file)), file.open("rb") as record, _progress(DownloadColumn(), shown=True) as progress:
        task = progress.add_task("read", total=os.fstat(record.fileno()).st_size)

        def pieces() -> Iterator[bytes]:
            while piece := record.read(PIECE_BYTES):
                yield piece
                progress.advance(task, len(piece))

        return client.reconcile(pieces(), whole=_span(whole, os.fstat(record.fileno()).st_mtime) if whole else None)


def _span(days: UsageFilter, written_at: float) -> tuple[datetime, datetime]:
    since = datetime.combine(days.since, time.min, UTC)
    until = datetime.combine(days.until, time.max, UTC)
    return since, max(since, min(until, datetime.fromtimestamp(written_at, UTC)))


def _write(pieces: Iterator[bytes], file: BinaryIO, *, shown: bool) -> int:
    """How many lines there were."""
    lines = 0
    with _progress(FileSizeColumn(), shown=shown) as progress:
        task = progress.add_task("written", total=None)
        for piece in pieces:
            file.write(piece)
            lines += piece.count(b"\n")
            progress.advance(task, len(piece))
    return lines


def _progress(size: FileSizeColumn | DownloadColumn, *, shown: bool) -> Progress:
    bar = (BarColumn(),) if isinstance(size, DownloadColumn) else (SpinnerColumn(),)
    return Progress(
        *bar,
        size,
        TextColumn("{task.description}"),
        console=Console(stderr=True, color_system=None if os.environ.get("NO_COLOR") else "auto"),
        transient=True,
        disable=not (shown and sys.stderr.isatty()),
    )


@contextmanager
def _named(field: str, name: str) -> Iterator[None]:
    """Raises InvalidArgument where the file is at fault; a pipe that nobody reads is none."""
    try:
        yield
    except OSError as error:
        message = f"cannot use {name}: {error.strerror or error}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field=field) from error
