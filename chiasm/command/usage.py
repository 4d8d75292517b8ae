"""`chiasm usage`: what was used, by whom, and what it cost."""

import json as json_text
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.options import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Address, Json, Timeout
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.command.usage_files import export_to, reconcile_from
from chiasm.command.usage_view import UsageView
from chiasm.errors import InvalidArgument
from chiasm.usage import UsageFilter, UsageGroup

_LAST_DAYS = re.compile(r"([1-9][0-9]{0,3})d")


def usage(
    since: Annotated[str, typer.Option(help="The first day of UTC: YYYY-MM-DD, or 7d for the last seven.")] = "7d",
    until: Annotated[str, typer.Option(help="The last day, YYYY-MM-DD; today when left out.")] = "",
    by: Annotated[str, typer.Option(help="Split by tenant, model, member, day: several with commas.")] = "model",
    tenant: Annotated[str, typer.Option(help="Only this caller's.")] = "",
    model: Annotated[str, typer.Option(help="Only what this model answered: NAME or models/NAME.")] = "",
    entries: Annotated[
        int | None, typer.Option(min=1, help="List this many of the newest entries of the ledger.", show_default=False)
    ] = None,
    export: Annotated[
        str | None, typer.Option(help="Write the ledger as CSV to this file; - for stdout.", show_default=False)
    ] = None,
    reconcile: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Correct the ledger with Vertex's request-response log, as JSON lines.",
            show_default=False,
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(help="The log holds every call of the days --since to --until: what it lacks was never served."),
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Show what was used and what it cost, and the budgets; export or correct the ledger."""
    with explained(address, as_json=json), command_span("usage"), Client(address, timeout_s=timeout) as client:
        _check_choice(entries=entries, export=export, reconcile=reconcile, json=json and export)
        today = datetime.now(UTC).date()
        last = _day(until, "until") if until else today
        wanted = UsageFilter(_first(since, last), last, tenant, model)
        if export:
            export_to(client, wanted, export)
        elif reconcile:
            _reconcile(client, reconcile, wanted if whole else None, as_json=json)
        elif entries:
            _list(client, wanted, entries, as_json=json)
        else:
            _sum(client, wanted, _groups(by), as_json=json)


def _sum(client: Client, wanted: UsageFilter, groups: list[UsageGroup], *, as_json: bool) -> None:
    sums = client.usage(wanted, group_by=groups)
    days = client.usage(wanted, group_by=[UsageGroup.DAY])
    budgets = client.budgets(wanted.tenant)
    if as_json:
        _print_json(
            {
                "since": wanted.since,
                "until": wanted.until,
                "rows": [asdict(row) for row in sums.rows],
                "total": asdict(sums.total),
                "cost_by_day_nanousd": {str(row.day): row.usage.cost_nanousd for row in days.rows},
                "budgets": [asdict(budget) for budget in budgets],
            }
        )
        return
    view = UsageView()
    if sums.rows:
        view.show_sums(sums, groups)
        view.show_days({row.day: row.usage.cost_nanousd for row in days.rows}, wanted.since, wanted.until)
    else:
        note(f"nothing was used {_span(wanted)}; look further back with --since 30d")
    view.show_budgets(budgets)


def _list(client: Client, wanted: UsageFilter, most: int, *, as_json: bool) -> None:
    found = list(islice(client.ledger(wanted, page_size=min(most, 1_000)), most))
    if as_json:
        _print_json({"entries": [asdict(entry) for entry in found]})
    elif found:
        UsageView().show_entries(found)
    else:
        note(f"the ledger has no entry {_span(wanted)}; look further back with --since 30d")


def _reconcile(client: Client, file: Path, whole: UsageFilter | None, *, as_json: bool) -> None:
    done = reconcile_from(client, file, whole)
    if as_json:
        _print_json(asdict(done))
    else:
        UsageView().show_reconciliation(done)


def _span(wanted: UsageFilter) -> str:
    narrowed = [f"by {name}" for name in (wanted.tenant, wanted.model) if name]
    return " ".join([f"from {wanted.since} to {wanted.until}", *narrowed])


def _print_json(fields: Mapping[str, object]) -> None:
    print(json_text.dumps(fields, ensure_ascii=False, default=lambda day: day.isoformat()), flush=True)


def _groups(by: str) -> list[UsageGroup]:
    names = [name.strip() for name in by.split(",") if name.strip()]
    known = [group.value for group in UsageGroup]
    if any(name not in known for name in names) or len(set(names)) < len(names):
        raise _wrong("by", f"{by!r} is not of {', '.join(known)}, each once")
    return [UsageGroup(name) for name in names]


def _first(since: str, last: date) -> date:
    if days := _LAST_DAYS.fullmatch(since):
        return last - timedelta(days=int(days[1]) - 1)
    return _day(since, "since")


def _day(text: str, field: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise _wrong(field, f"{text!r} is not a day, as YYYY-MM-DD") from None


def _check_choice(**chosen: object) -> None:
    names = [f"--{name}" for name, value in chosen.items() if value]
    if len(names) > 1 and names != ["--entries", "--json"] and names != ["--reconcile", "--json"]:
        raise _wrong(names[-1].removeprefix("--"), f"{' and '.join(names)} do not go together")


def _wrong(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="FIELD_INVALID", field=field)
