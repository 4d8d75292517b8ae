"""How a run goes, on a terminal: a bar with rate, time left and running score."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from evals.report import Scored


class RunProgress:
    """A bar on stderr for as long as its `with` block runs; silent where stderr is no terminal."""

    def __init__(self, name: str, total: int, done: Sequence[Scored] = ()) -> None:
        """`done` are the items that an earlier session scored."""
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("score {task.fields[score]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._qualities = [scored.quality for scored in done]
        self._failed = sum(bool(scored.record.error) for scored in done)
        self._task = self._bar.add_task(name, total=total, completed=len(done), score=self._score())

    def add(self, scored: Scored) -> None:
        """One more item is through."""
        self._qualities.append(scored.quality)
        self._failed += bool(scored.record.error)
        self._bar.update(self._task, advance=1, score=self._score())

    def _score(self) -> str:
        if not self._qualities:
            return "-"
        mean = sum(self._qualities) / len(self._qualities)
        return f"{mean:.3f}" + (f" · {self._failed} failed" if self._failed else "")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "-/s", style="progress.data.speed")
