"""`make eval`: starts the services with the tiny models, runs the tiny suites, and prints their figures.

Reports go to runs/evals/SUITE. Exits with 1 where a figure is short.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chiasm import AsyncClient
from chiasm.command.service_process import ServiceDied, ServiceSpec
from chiasm.command.stack import Stack
from evals.evaluation import Settings, evaluate
from evals.report import Report
from evals.suite import Suite
from evals.suites import TINY, tiny, tiny_search

MODELS = Path(__file__).parent.parent / "models"
OUT = Path("runs", "evals")
_READY_TIMEOUT_S = 240.0
_GENERATION = [
    ServiceSpec(
        "paligemma",
        "services.paligemma",
        environment={"CHIASM_PALIGEMMA_MODEL": str(MODELS / "tiny-paligemma")},
    ),
    ServiceSpec(
        "gateway",
        "services.gateway",
        environment={"CHIASM_GATEWAY_REFRESH_S": "0.1"},
        addresses={"CHIASM_GATEWAY_TARGETS": ("paligemma",)},
    ),
]
_EMBEDDING = [
    ServiceSpec(
        "embedder",
        "services.embedder",
        health="chiasm.v1.EmbeddingService",
        environment={"CHIASM_EMBEDDER_MODELS": f"{MODELS / 'tiny-siglip'},{MODELS / 'tiny-colpali'}"},
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make eval", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"all when left out: {', '.join(TINY)}")
    parser.add_argument("--limit", type=int, help="only the first so many items of each")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(TINY):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    try:
        reports = asyncio.run(_evaluate(arguments.suites or list(TINY), arguments.limit))
    except ServiceDied as error:
        sys.exit(f"{error}\n{error.log_tail}")
    figures = [figure for report in reports for figure in report.figures]
    print(*figures, sep="\n")
    sys.exit(not all(figure.ok for figure in figures))


async def _evaluate(names: Sequence[str], limit: int | None) -> list[Report]:
    asked = await _against(_GENERATION, [tiny.SUITES[name]() for name in names if name in tiny.SUITES], limit)
    searched = [tiny_search.SUITES[name]() for name in names if name in tiny_search.SUITES]
    return asked + await _against(_EMBEDDING, searched, limit)


async def _against(specs: Sequence[ServiceSpec], suites: Sequence[Suite], limit: int | None) -> list[Report]:
    if not suites:
        return []
    async with _serving(specs) as address, AsyncClient(address) as client:
        return [await _report(suite, client, limit) for suite in suites]


async def _report(suite: Suite, client: AsyncClient, limit: int | None) -> Report:
    out = OUT / suite.name
    report = await evaluate(suite, client, Settings(out, limit=limit, fresh=True))
    told = [suite.name, *report.lines(), *filter(None, [report.trouble]), str(out / "report.html")]
    print(*told, sep="\n  ", file=sys.stderr, flush=True)
    return report


@asynccontextmanager
async def _serving(specs: Sequence[ServiceSpec]) -> AsyncIterator[str]:
    """The services, ready; the address of the last of them."""
    async with Stack(specs, log_dir=OUT / "logs") as stack:
        await stack.wait_ready(_READY_TIMEOUT_S)
        yield stack.services[specs[-1].name].address


if __name__ == "__main__":
    main()
