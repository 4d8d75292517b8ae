"""What `chiasm index` shows: a bar on a terminal as files are done, and at the end what failed and why."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from chiasm.command.console import stdout_console, table_of
from chiasm.command.indexing import Tally
from chiasm.command.terminal import note, printable


class IndexView:
    """Its bar is on stderr, and shown while the block runs."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failed]}", style="red"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=total, rate="", failed="")

    def tell(self, tally: Tally) -> None:
        """What has become of the files so far."""
        speed = self._progress.tasks[self._task].speed
        self._progress.update(
            self._task,
            completed=tally.done,
            rate=f"{speed:.1f} files/s" if speed else "",
            failed=f"{len(tally.failures)} failed" if tally.failures else "",
        )

    def report(self, tally: Tally, skipped: int, seconds: float) -> None:
        """What failed, as a table, and the sums."""
        if tally.failures:
            table = table_of("FAILED", "WHY")
            for name, error in sorted(tally.failures.items()):
                table.add_row(Text(printable(name, sys.stdout)), Text(printable(str(error), sys.stdout)))
            stdout_console().print(table)
        rate = f", {tally.done / seconds:.1f} files/s" if seconds > 0 else ""
        there = f" ({tally.unchanged:,} were there)" if tally.unchanged else ""
        passed = f", {skipped:,} of other kinds left out" if skipped else ""
        note(
            f"{tally.stored:,} of {tally.total:,} files stored{there} as {tally.entries:,} entries, "
            f"{len(tally.failures):,} failed{passed}; {seconds:.1f} s{rate}"
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
