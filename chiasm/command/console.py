"""Tables and bars on stdout: with blocks on a terminal, in plain ASCII elsewhere."""

import os
import sys

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 1_000
"""Columns where stdout is no terminal: nothing is folded there."""
BAR_WIDTH = 20
GAP = 2
"""Columns between two of a table's."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


def stdout_console() -> Console:
    """To stdout, as wide as it is if it is a terminal."""
    narrow = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Console(
        highlight=False,
        width=None if narrow else PIPE_WIDTH,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )


def has_blocks(console: Console) -> bool:
    """Whether it shows Unicode's block elements."""
    return console.is_terminal and console.encoding == "utf-8"


def table_of(*headings: str) -> Table:
    """An empty table without lines."""
    table = Table(box=None, header_style="dim", padding=(0, GAP, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def bar(share: float, *, blocks: bool) -> str:
    """Of a share from 0 to 1; never nothing for something."""
    if not blocks:
        return "#" * max(round(share * BAR_WIDTH), share > 0)
    whole, part = divmod(max(round(share * BAR_WIDTH * 8), share > 0), 8)
    return "█" * whole + _EIGHTHS[part].strip()
