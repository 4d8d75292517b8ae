"""Shows a stack's services as they start and stop: a live table on a terminal, plain lines elsewhere."""

import json
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chiasm.command.service_process import ServiceProcess, State
from chiasm.command.stack import Stack

_STYLES = {State.READY: "green", State.DIED: "bold red", State.DRAINING: "yellow", State.STOPPED: "dim"}


class View:
    """What `chiasm up` shows, on stdout."""

    def __init__(self) -> None:
        """Looks whether stdout is a terminal."""
        self._console = Console(highlight=False)

    def live(self, stack: Stack) -> AbstractContextManager[object]:
        """Keeps a table of the services in view for as long as the block runs; on a terminal only."""
        if not self._console.is_terminal:
            return nullcontext()
        return Live(console=self._console, get_renderable=lambda: _table(stack), refresh_per_second=4)

    def changed(self, service: ServiceProcess) -> None:
        """Prints a service's new state, where no table shows it."""
        if not self._console.is_terminal:
            at = f" at {service.address}" if service.state in (State.LOADING, State.STANDBY, State.READY) else ""
            after = f" after {service.seconds:.1f} s" if service.state is State.READY else ""
            self.say(f"{service.spec.name}: {service.state}{at}{after}")

    def say(self, line: str) -> None:
        """Prints a line, above the table if there is one."""
        self._console.print(Text(line), soft_wrap=True)


def _table(stack: Stack) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("SERVICE", "STATE", "ADDRESS", "SECONDS"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "SECONDS" else "left")
    table.add_column("LAST SAID", no_wrap=True, overflow="ellipsis", ratio=1)
    for service in stack.services.values():
        state = Text(service.state, style=_STYLES.get(service.state, ""))
        said = Text(_last_message(service), style="dim")
        table.add_row(service.spec.name, state, service.address, f"{service.seconds:.1f}", said)
    return table


def _last_message(service: ServiceProcess) -> str:
    """The message of the last line of its log, which is JSON when the service itself wrote it."""
    line = "".join(service.last_lines(1))
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line
