"""`make parity`: our engine and stock vLLM against transformers; exits 1 where a figure is short."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from evals.figures import Figure
from tests.checkpoints import TINY
from tests.paligemma.parity.checkpoints import (
    random_adapter,
    random_gemma1,
    random_gemma2,
    save_as_google,
    save_as_transformers,
)
from tests.paligemma.parity.compare import compare
from tests.paligemma.parity.progress import timed
from tests.paligemma.parity.questions import Answer, questions
from tests.paligemma.parity.reference import Reference
from tests.paligemma.parity.served import served
from tests.paligemma.parity.stock import stock_environment

QUESTIONS = 200
SCHEDULES = ("alone", "together", "staggered")
WORST_LOGPROB_DIFFERENCE = 1e-3

CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "gemma1_trained": lambda _: TINY,
    "gemma1_random": lambda folder: save_as_google(random_gemma1(1), folder),
    "gemma2_small_window": lambda folder: save_as_google(random_gemma2(2, window=80), folder),
    "gemma2_strong_cap": lambda folder: save_as_google(random_gemma2(3, window=4096, final_cap=5.0), folder),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make parity", description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    count = parser.parse_args().questions
    figures = []
    for name, make in CHECKPOINTS.items():
        with tempfile.TemporaryDirectory() as folder:
            figures += _parity(name, make(Path(folder) / "model"), count)
    with tempfile.TemporaryDirectory() as folder:
        figures += _adapter_parity(Path(folder), count)
    print(*figures, sep="\n")
    sys.exit(any(not figure.ok for figure in figures))


def _parity(name: str, model: Path, count: int) -> list[Figure]:
    reference = timed(f"{name}: transformers", lambda: _reference(model, count))
    ours = timed(f"{name}: served, {', '.join(SCHEDULES)}", lambda: served(model, count, SCHEDULES))
    with stock_environment() as environment:
        stock = timed(f"{name}: stock vLLM", lambda: served(model, count, ("together",), environment=environment))
    figures = []
    for schedule, answers in ours.items():
        figures += _figures(f"{name}_{schedule}", answers, reference)
    missed = count - compare(stock["together"], reference).exact
    return [*figures, Figure(f"{name}_stock_misses", missed, ">=", 1)]


def _adapter_parity(folder: Path, count: int) -> list[Figure]:
    model = random_gemma1(4)
    base = save_as_transformers(model, folder / "base")
    adapter = random_adapter(model, folder / "adapter")
    merged = save_as_transformers(model, folder / "merged")
    reference = timed("adapter: transformers, merged", lambda: _reference(merged, count))
    ours = timed("adapter: served", lambda: served(base, count, ("adapter",), adapter=adapter))
    return _figures("gemma1_adapter_among_base", ours["adapter"], reference)


def _figures(name: str, ours: list[Answer], theirs: list[Answer]) -> list[Figure]:
    parity = compare(ours, theirs)
    return [
        Figure(f"{name}_exact", parity.exact, "==", parity.asked),
        Figure(f"{name}_worst_logprob_difference", parity.worst, "<=", WORST_LOGPROB_DIFFERENCE),
    ]


def _reference(model: Path, count: int) -> list[Answer]:
    reference = Reference(model)
    return reference.answers(questions(count, reference.image_size))


if __name__ == "__main__":
    main()
