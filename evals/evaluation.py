"""Evaluates a server with a suite: asks, scores, and writes the report into the run's folder."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from chiasm import AsyncClient, NotFound, Options
from evals import report
from evals.asking import asking
from evals.digest import digest
from evals.journal import Journal, Record, RunOf
from evals.page import write_html
from evals.progress import RunProgress
from evals.runner import run
from evals.scores import write_scores
from evals.suite import Ask, Item, Suite


@dataclass(frozen=True)
class Settings:
    """How to run a suite."""

    out: Path
    """The run's folder: run.json, results.jsonl, scores.json, report.json and report.html."""
    model: str = ""
    """NAME or models/NAME; empty lets the gateway decide."""
    limit: int | None = None
    """Only the first so many items."""
    concurrency: int = 16
    """Items asked about at once, 1 or more."""
    timeout_s: float = 60.0
    """Seconds for one reply."""
    fresh: bool = False
    """Drop what an earlier run left in `out` rather than go on from there."""


async def evaluate(suite: Suite, client: AsyncClient, settings: Settings) -> report.Report:
    """Runs the suite, or the rest of it, and returns the report it wrote.

    Raises the ChiasmError that ended the run, InvalidArgument when `out` holds another run, OSError when it cannot be
    written.
    """
    began = time.monotonic()
    suite = replace(suite, items=suite.items[: settings.limit])
    models = await _revisions(client, settings.model)
    run_of = RunOf(suite.name, len(suite.items), await asyncio.to_thread(digest, suite), models)
    options: Options = {"model": settings.model, "timeout_s": settings.timeout_s}
    if suite.max_tokens:
        options["max_tokens"] = suite.max_tokens
    with await asyncio.to_thread(Journal, settings.out, run_of, fresh=settings.fresh) as journal:
        ask = await suite.prepare(client, suite.documents, options) if suite.prepare else asking(client, options)
        records = await _run(suite, ask, journal, settings.concurrency)
    return await asyncio.to_thread(
        _write, suite, records, run_of, settings.out, client.address, time.monotonic() - began
    )


async def _run(suite: Suite, ask: Ask, journal: Journal, concurrency: int) -> dict[str, Record]:
    done = [report.score(suite, item, journal.records[item.id]) for item in suite.items if item.id in journal.records]
    with RunProgress(suite.name, len(suite.items), done) as progress:

        def on_record(item: Item, record: Record) -> None:
            progress.add(report.score(suite, item, record))

        return await run(suite, ask, journal, concurrency=concurrency, on_record=on_record)


def _write(
    suite: Suite, records: dict[str, Record], run_of: RunOf, out: Path, address: str, seconds: float
) -> report.Report:
    scored = [report.score(suite, item, records[item.id]) for item in suite.items]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    built = report.build(suite, run_of, scored, address=address, date=date, seconds=seconds)
    report.write_json(built, out / "report.json")
    write_scores(run_of, scored, out)
    write_html(built, out / "report.html")
    return built


async def _revisions(client: AsyncClient, wanted: str) -> dict[str, str]:
    """The models that may answer. Raises NotFound when the one wanted is not served."""
    if wanted:
        model = await client.model(wanted)
        return {model.name: model.revision}
    if served := {model.name: model.revision for model in await client.models()}:
        return served
    raise NotFound(f"{client.address} serves no model", reason="MODEL_NOT_FOUND")
