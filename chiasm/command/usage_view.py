"""Sums, budgets and entries of the ledger for a person: tables that fit the terminal, and bars."""

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from chiasm.command.console import BAR_WIDTH, GAP, bar, has_blocks, stdout_console, table_of
from chiasm.command.report import dollars
from chiasm.command.terminal import printable
from chiasm.usage import Budget, LedgerEntry, Reconciliation, UsageGroup, UsageRow, UsageSums

MOST_DAYS = 31
"""Beyond them, the chart is of months."""


@dataclass(frozen=True)
class Column:
    """A column of a table that may be too wide."""

    heading: str
    cells: Sequence[str]
    pile: int
    """Where the terminal is narrow, the columns of a pile stand one under the other; those of pile 0 last of all."""
    right: bool = False

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))


class UsageView:
    """Writes to stdout; with blocks on a terminal, in plain ASCII elsewhere."""

    def __init__(self) -> None:
        """Looks whether stdout is a terminal, and how wide."""
        self._console = stdout_console()
        self._blocks = has_blocks(self._console)
        self._begun = False

    def show_sums(self, sums: UsageSums, groups: Sequence[UsageGroup]) -> None:
        """A line for each sum, and the total last."""
        rows = [*sums.rows, sums.total] if groups else [sums.total]
        names = [[_name(row, group) for row in sums.rows] for group in groups]
        usages = [row.usage for row in rows]
        columns = [
            *(
                Column(group.upper(), [*names[place], "" if place else "total"], pile=0)
                for place, group in enumerate(groups)
            ),
            _numbers("ATTEMPTS", [row.attempts for row in rows], pile=1),
            _numbers("FAILED", [row.failed_attempts for row in rows], pile=1),
            _numbers("INPUT", [usage.input_tokens for usage in usages], pile=2),
            _numbers("CACHED", [usage.cached_input_tokens for usage in usages], pile=2),
            _numbers("OUTPUT", [usage.output_tokens for usage in usages], pile=3),
            _numbers("REASONING", [usage.reasoning_output_tokens for usage in usages], pile=3),
            Column("COST", [usd(usage.cost_nanousd) for usage in usages], pile=0, right=True),
        ]
        self._show(self._fitted(columns, last_is_total=bool(groups)))
        if estimated := sums.total.estimated_attempts:
            self._say(f"attempts that stand by an estimate: {estimated:,}; --reconcile corrects them", style="yellow")

    def show_days(self, costs: Mapping[date, int], since: date, until: date) -> None:
        """A bar for each day from the first to the last, those without cost too."""
        days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
        by_month = len(days) > MOST_DAYS
        sums: Counter[str] = Counter()
        for day in days:
            sums[f"{day:%Y-%m}" if by_month else str(day)] += costs.get(day, 0)
        most = max(*sums.values(), 1)
        table = table_of("MONTH" if by_month else "DAY", "COST", "")
        for name, cost in sums.items():
            table.add_row(name, usd(cost), Text(bar(cost / most, blocks=self._blocks), style="cyan"))
        self._show(table)

    def show_budgets(self, budgets: Sequence[Budget]) -> None:
        """A bar for each: what is spent, what is held, and what is left."""
        if not budgets:
            return
        table = table_of("BUDGET", "", "")
        for budget in budgets:
            over = budget.spent_nanousd + budget.held_nanousd > budget.limit_nanousd
            held = f" + {dollars(budget.held_nanousd)} held" if budget.held_nanousd else ""
            table.add_row(
                Text(f"{printable(budget.tenant, sys.stdout)}, {budget.period}"),
                Text(self._budget_bar(budget), style="red" if over else "green"),
                Text(
                    f"{dollars(budget.spent_nanousd)}{held} of {dollars(budget.limit_nanousd)}, "
                    f"{'hard' if budget.hard else 'soft'}, resets {_in(budget.resets_at)}"
                ),
            )
        self._show(table)

    def show_entries(self, entries: Sequence[LedgerEntry]) -> None:
        """A line an entry, the newest first."""
        columns = [
            Column("TIME", [f"{entry.time:%m-%d %H:%M:%S}" for entry in entries], pile=0),
            Column("WHAT", [_what(entry) for entry in entries], pile=0),
            Column("TENANT", [entry.tenant for entry in entries], pile=1),
            Column("MODEL", [_bare(entry.model_answered or entry.model_asked) for entry in entries], pile=1),
            _numbers("INPUT", [entry.usage.input_tokens for entry in entries], pile=2),
            _numbers("OUTPUT", [entry.usage.output_tokens for entry in entries], pile=2),
            Column("COST", [usd(entry.usage.cost_nanousd) for entry in entries], pile=0, right=True),
        ]
        self._show(self._fitted(columns))

    def show_reconciliation(self, done: Reconciliation) -> None:
        """What changed, in a line or two."""
        if done.corrected:
            change = usd(done.difference_nanousd)
            self._say(f"attempts corrected: {done.corrected:,}, by {change} in all; the record names {done.rows:,}")
        elif done.rows:
            self._say(f"nothing to correct: the ledger agrees with the record on {done.rows:,} attempts")
        else:
            self._say("the record names no attempt of this ledger: is it of the pool's own projects on Vertex?")
        if done.skipped:
            self._say(f"lines skipped, which name none or cannot be read: {done.skipped:,}", style="yellow")

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style))

    def _show(self, table: Table) -> None:
        """With a blank line after what came before."""
        if self._begun:
            self._console.print()
        self._begun = True
        self._console.print(table)

    def _fitted(self, columns: Sequence[Column], *, last_is_total: bool = False) -> Table:
        """The widest form that the terminal has room for, else the narrowest."""
        every = {column.pile for column in columns}
        forms = [_piled(columns, together) for together in (set(), every - {0}, every)]
        piles = next((piles for piles in forms if _width(piles) <= self._console.width), forms[-1])
        table = table_of(*("\n".join(_aligned(pile, [column.heading for column in pile])) for pile in piles))
        for drawn, pile in zip(table.columns, piles, strict=True):
            drawn.justify, drawn.no_wrap = ("right", True) if pile[0].right else ("left", False)
        last = len(columns[0].cells) - 1
        for line in range(last + 1):
            if line and max(map(len, piles)) > 2:
                table.add_row()
            texts = [_aligned(pile, [printable(column.cells[line], sys.stdout) for column in pile]) for pile in piles]
            table.add_row(
                *(Text.assemble(first, *((f"\n{other}", "dim") for other in others)) for first, *others in texts),
                style="bold" if last_is_total and line == last else "",
            )
        return table

    def _budget_bar(self, budget: Budget) -> str:
        spent_sign, held_sign, left_sign = "█▓░" if self._blocks else "#=."
        share = BAR_WIDTH / budget.limit_nanousd
        spent = min(BAR_WIDTH, max(round(budget.spent_nanousd * share), budget.spent_nanousd > 0))
        held = min(BAR_WIDTH - spent, max(round(budget.held_nanousd * share), budget.held_nanousd > 0))
        return spent_sign * spent + held_sign * held + left_sign * (BAR_WIDTH - spent - held)


def usd(nanousd: int) -> str:
    """To the nano-dollar: `$1,234.000000050`."""
    whole, part = divmod(abs(nanousd), 10**9)
    return f"{'-' if nanousd < 0 else ''}${whole:,}.{part:09}"


def _numbers(heading: str, numbers: Sequence[int], *, pile: int) -> Column:
    return Column(heading, [f"{number:,}" for number in numbers], pile, right=True)


def _piled(columns: Sequence[Column], together: Collection[int]) -> list[list[Column]]:
    """The columns, those of each pile of `together` put together where its first one stands."""
    piles: dict[int | str, list[Column]] = {}
    for column in columns:
        piles.setdefault(column.pile if column.pile in together else column.heading, []).append(column)
    return list(piles.values())


def _width(piles: Sequence[Sequence[Column]]) -> int:
    return sum(max(column.width for column in pile) + GAP for pile in piles) - GAP


def _aligned(pile: Sequence[Column], lines: Sequence[str]) -> list[str]:
    """The lines of a cell, those of figures to the right."""
    width = max(column.width for column in pile)
    return [line.rjust(width) if column.right else line for column, line in zip(pile, lines, strict=True)]


def _name(row: UsageRow, group: UsageGroup) -> str:
    value = getattr(row, group)
    return _bare(value) if group is UsageGroup.MODEL else str(value)


def _bare(model: str) -> str:
    return model.removeprefix("models/")


def _what(entry: LedgerEntry) -> str:
    return entry.outcome if entry.kind == "settled" else f"{entry.outcome}, {entry.kind}"


def _in(at: datetime) -> str:
    minutes = max(0, round((at - datetime.now(UTC)).total_seconds() / 60))
    if minutes < 60:
        return f"in {minutes} min"
    return f"in {round(minutes / 60)} h" if minutes < 48 * 60 else f"in {round(minutes / 60 / 24)} days"
