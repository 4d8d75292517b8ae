"""The `chiasm` command."""

import typer

from chiasm.command.answer import answer
from chiasm.command.ask import ask
from chiasm.command.calibrate import calibrate
from chiasm.command.caption import caption
from chiasm.command.classify import classify
from chiasm.command.collections import collections
from chiasm.command.detect import detect
from chiasm.command.eval import evaluate
from chiasm.command.failures import EXIT_CODES
from chiasm.command.index import index
from chiasm.command.key import key
from chiasm.command.models import models
from chiasm.command.read import read
from chiasm.command.route import route
from chiasm.command.search import search
from chiasm.command.segment import segment
from chiasm.command.up import up
from chiasm.command.upload import upload
from chiasm.command.usage import usage

app = typer.Typer(
    help="Ask vision-language models about pictures.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a fault's traceback must not print local values
)
_COMMANDS = (
    *(ask, caption, detect, read, segment, classify),
    *(index, search, answer, collections),
    *(route, models, upload, usage, key, calibrate, up),
)
for command in _COMMANDS:
    app.command(epilog=EXIT_CODES)(command)
app.command("eval", epilog=EXIT_CODES)(evaluate)


def main() -> None:
    """Runs the command that the arguments name, and exits; see `failures` for the codes."""
    app()


if __name__ == "__main__":
    main()
