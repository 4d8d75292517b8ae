"""What is shown on a terminal and kept out of a pipe."""

import os
import sys
from typing import TextIO


def note(line: str) -> None:
    """Prints a line aside, on stderr; dim on a terminal with colours."""
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(f"\x1b[2m{line}\x1b[0m" if colours else line, file=sys.stderr, flush=True)


def printable(text: str, stream: TextIO) -> str:
    """`text` as it may be written to `stream`: a model's control characters must not steer a terminal."""
    if not stream.isatty():
        return text
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)
