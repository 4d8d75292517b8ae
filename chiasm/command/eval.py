"""`chiasm eval`: how good a server's answers are."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Model, Timeout
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.errors import InvalidArgument

if TYPE_CHECKING:
    from evals.evaluation import Settings
    from evals.report import Report

SHORT = 1


def evaluate(
    suite: Annotated[str, typer.Argument(help="What to ask; --list names them.", show_default=False)] = "",
    against: Annotated[
        str,
        typer.Option("--against", "--address", envvar="CHIASM_ADDRESS", help="The gateway, or a model server."),
    ] = DEFAULT_ADDRESS,
    listed: Annotated[bool, typer.Option("--list", help="List the suites and end.")] = False,
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="The folder of a public data set.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="The run's folder; runs/evals/SUITE when left out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about the first so many items only.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Items asked about at once.")] = 16,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Drop what an earlier run left, or go on from there.")
    ] = False,
    model: Model = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Ask a server the questions of a suite, and measure how good its answers are.

    A run that was killed goes on where it was, and asks again what the server failed at. Exits
    with 1 when a figure is short of its target.
    """
    with explained(against), command_span("eval"):
        try:
            from evals.evaluation import Settings
            from evals.suites import described
        except ModuleNotFoundError as error:
            message = f"chiasm eval needs more than the client: pip install 'chiasm[evals]' ({error.name} is missing)"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="suite") from error
        if listed or not suite:
            _show(described())
            return
        settings = Settings(
            out=out or Path("runs", "evals", suite),
            model=model,
            limit=limit,
            concurrency=concurrency,
            timeout_s=timeout,
            fresh=fresh,
        )
        report = asyncio.run(_run(suite, data, against, settings))
    for line in report.lines():
        print(line, flush=True)
    if report.trouble:
        note(report.trouble)
    note(f"report: {settings.out / 'report.html'}")
    if not all(figure.ok for figure in report.figures):
        raise typer.Exit(SHORT)


async def _run(name: str, data: Path | None, address: str, settings: "Settings") -> "Report":
    from chiasm.client import AsyncClient
    from evals.evaluation import evaluate
    from evals.suites import build

    suite = await asyncio.to_thread(build, name, data)
    async with AsyncClient(address) as client:
        try:
            return await evaluate(suite, client, settings)
        except OSError as error:
            message = f"cannot write {settings.out}: {error.strerror or error}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="out") from error


def _show(described: list[tuple[str, str, str]]) -> None:
    for name, about, layout in described:
        print(f"{name:18} {about}" + (f"\n{'':18} --data: {layout}" if layout else ""), flush=True)
