"""`chiasm usage` as a real process against a real UsageServer."""

import asyncio
import csv
import fcntl
import io
import json
import os
import pty
import struct
import termios
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.gemini_proxy.accounts.books import Outcome
from tests.gemini_proxy.accounts.samples import DAY_MS, Clock
from tests.gemini_proxy.test_reconciling import SAID, lines, log_row
from tests.gemini_proxy.usage_server import LITE, Served, serving_usage, without_redis

from .conftest import COMMAND, ROOT, Ended, environment, run_command


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """By the real clock, which the command goes by too."""
    async with serving_usage(Clock(round(time.time() * 1000))) as served:
        yield served


async def run(served: Served, *arguments: str, **extra: str) -> Ended:
    return await run_command("usage", *arguments, "--address", served.address, **extra)


async def shown(served: Served, width: int, *arguments: str, **extra: str) -> str:
    """What a terminal of so many columns gets."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("usage", *arguments, "--address", served.address),
        cwd=ROOT,
        env=environment(**extra),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    text = os.read(terminal, 2**16).decode()
    os.close(terminal)
    return text.replace("\r", "")


def today(shift: int = 0) -> str:
    return str(datetime.now(UTC).date() + timedelta(days=shift))


async def test_a_week_is_summed_by_model_with_days_and_budgets(served: Served) -> None:
    served.clock.now_ms -= DAY_MS
    await served.book(cost=250_000, model=LITE)
    served.clock.now_ms += DAY_MS
    await served.book(cost=500_000)
    await served.book(outcome=Outcome.FAILED, final=False, cost=1)
    await served.reserve(cost=100_000)
    ended = await run(served)
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    assert ended.out.isascii()
    sums, days, budgets = (part.splitlines() for part in ended.out.split("\n\n"))
    heading = "MODEL ATTEMPTS FAILED INPUT CACHED OUTPUT REASONING COST"
    assert [line.split() for line in sums[:4]] == [
        heading.split(),
        [LITE, "1", "0", "1,220", "40", "42", "12", "$0.000250000"],
        ["gemini-3.8-flash", "2", "1", "2,440", "80", "84", "24", "$0.000500001"],
        ["total", "3", "1", "3,660", "120", "126", "36", "$0.000750001"],
    ]
    assert len({len(line.rstrip()) for line in sums[:4]}) == 1, "figures are aligned to the right"
    assert sums[4] == "attempts that stand by an estimate: 1; --reconcile corrects them"
    assert len(days) == 8
    assert [line.split() for line in days[-3:]] == [
        [today(-2), "$0.000000000"],
        [today(-1), "$0.000250000", "#" * 10],
        [today(), "$0.000500001", "#" * 20],
    ]
    assert budgets[1].split()[:3] == ["acme,", "day", "##########==........"]
    assert "$0.000500001 + $0.0001 held of $0.001, hard, resets in" in budgets[1]
    assert "of $0.02, soft, resets in" in budgets[2]
    assert budgets[3].split()[:3] == ["zoo,", "day", "." * 20]


async def test_sums_are_split_and_narrowed_as_asked(served: Served) -> None:
    await served.book(cost=10)
    await served.book(cost=20, tenant="zoo")
    ended = await run(served, "--by", "tenant,model,day", "--since", today(), "--tenant", "zoo")
    table, days, budgets = ended.out.split("\n\n")
    assert [line.split()[:4] for line in table.splitlines()[:2]] == [
        ["TENANT", "MODEL", "DAY", "ATTEMPTS"],
        ["zoo", "gemini-3.8-flash", today(), "1"],
    ]
    assert days.splitlines()[1].split() == [today(), "$0.000000020", "#" * 20]
    assert "acme" not in ended.out
    assert len(budgets.splitlines()) == 2
    ended = await run(served, "--by", "", "--model", "models/gemini-3.8-flash")
    assert [line.split()[0] for line in ended.out.splitlines()[:2]] == ["ATTEMPTS", "2"]


async def test_long_spans_are_charted_by_month(served: Served) -> None:
    await served.book()
    months = (await run(served, "--since", "60d")).out.split("\n\n")[1].splitlines()
    assert months[0].split() == ["MONTH", "COST"]
    assert months[-1].split() == [today()[:7], "$0.000000700", "#" * 20]
    assert 3 <= len(months) <= 4


@pytest.mark.parametrize("width", [60, 100])
async def test_a_terminal_gets_blocks_and_no_line_is_too_long(served: Served, width: int) -> None:
    await served.book(cost=990_000)
    await served.book(model=LITE, tenant="a-tenant-of-a-long-name")
    for arguments in ((), ("--by", "tenant,model,day"), ("--entries", "5")):
        text = await shown(served, width, *arguments, NO_COLOR="1")
        assert "\x1b" not in text
        assert all(len(line) <= width for line in text.splitlines())
        assert "$0.000990000" in text
        assert "gemini-3.5-flash-lite" in text, "no name is broken"
    text = await shown(served, width)
    assert "█" * 20 in text
    assert "\x1b[" in text


async def test_names_cannot_steer_a_terminal(served: Served) -> None:
    await served.book(tenant="evil\x1b[2J[red]")
    text = await shown(served, 100, "--by", "tenant", NO_COLOR="1")
    assert "evil�[2J[red]" in text


async def test_json_is_one_object(served: Served) -> None:
    attempt = await served.book()
    ended = await run(served, "--json", "--by", "tenant,day")
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out)
    assert list(answer) == ["since", "until", "rows", "total", "cost_by_day_nanousd", "budgets"]
    assert (answer["since"], answer["until"]) == (today(-6), today())
    assert (answer["rows"][0]["tenant"], answer["rows"][0]["day"]) == ("acme", today())
    assert answer["total"]["usage"]["cost_nanousd"] == 700
    assert answer["cost_by_day_nanousd"] == {today(): 700}
    assert datetime.fromisoformat(answer["budgets"][0]["resets_at"]) > datetime.now(UTC)
    (entry,) = json.loads((await run(served, "--json", "--entries", "9")).out)["entries"]
    assert (entry["attempt_id"], entry["kind"], entry["outcome"]) == (attempt, "settled", "ok")
    assert datetime.fromisoformat(entry["time"]).tzinfo


async def test_the_newest_entries_are_listed(served: Served) -> None:
    for cost in range(5):
        await served.book(cost=cost, outcome=Outcome.CANCELLED, final=cost != 4)
    heading, *entries = (await run(served, "--entries", "2")).out.splitlines()
    assert heading.split() == ["TIME", "WHAT", "TENANT", "MODEL", "INPUT", "OUTPUT", "COST"]
    assert [line.split()[-1] for line in entries] == ["$0.000000004", "$0.000000003"]
    assert "cancelled, estimated" in entries[0]


async def test_the_ledger_is_exported_to_a_file_or_a_pipe(served: Served, tmp_path: Path) -> None:
    attempts = [await served.book() for _ in range(3)]
    file = tmp_path / "ledger.csv"
    ended = await run(served, "--export", str(file))
    assert (ended.code, ended.out, ended.err) == (0, "", f"3 entries in {file}\n")
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    assert [row["attempt_id"] for row in rows] == attempts
    assert os.listdir(tmp_path) == ["ledger.csv"]
    ended = await run(served, "--export", "-")
    assert (ended.out.encode(), ended.err) == (file.read_bytes(), "")


async def test_an_export_that_fails_leaves_what_was_there(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    file.write_text("before")
    async with without_redis(served.books) as address:
        ended = await run_command("usage", "--export", str(file), "--address", address)
    assert (ended.code, file.read_text(), os.listdir(tmp_path)) == (2, "before", ["ledger.csv"])
    assert "CHIASM_GEMINI_PROXY_REDIS_URL" in ended.err
    ended = await run(served, "--export", str(tmp_path / "no" / "ledger.csv"))
    assert (ended.code, "No such file or directory (field: export)" in ended.err) == (2, True)


async def test_the_providers_record_corrects_the_ledger(served: Served, tmp_path: Path) -> None:
    attempt = await served.book(outcome=Outcome.FAILED, final=False, cost=0)
    at = datetime.now(UTC).isoformat()
    response = {"modelVersion": "gemini-3.8-flash", "usageMetadata": SAID}
    record = tmp_path / "log.jsonl"
    record.write_bytes(lines(log_row(attempt, logging_time=at, full_response=response)) + b"{}\n")
    ended = await run(served, "--reconcile", str(record))
    assert ended.code == 0
    corrected, skipped = ended.out.splitlines()
    assert corrected.startswith("attempts corrected: 1, by $0.00")
    assert corrected.endswith(" in all; the record names 1")
    assert skipped == "lines skipped, which name none or cannot be read: 1"
    done = json.loads((await run(served, "--reconcile", str(record), "--json")).out)
    assert done == {"rows": 1, "corrected": 0, "skipped": 1, "difference_nanousd": 0}
    assert (await run(served, "--reconcile", str(record))).out.startswith("nothing to correct")
    record.write_bytes(b"")
    assert "names no attempt of this ledger" in (await run(served, "--reconcile", str(record))).out
    ended = await run(served, "--reconcile", str(tmp_path / "none.jsonl"))
    assert (ended.code, "No such file or directory (field: reconcile)" in ended.err) == (2, True)


async def test_nothing_found_says_so_and_what_to_do(served: Served, tmp_path: Path) -> None:
    ended = await run(served, "--since", "2026-01-01", "--until", "2026-01-31", "--tenant", "zoo")
    assert (ended.code, ended.err) == (
        0,
        "nothing was used from 2026-01-01 to 2026-01-31 by zoo; look further back with --since 30d\n",
    )
    assert ended.out.split()[:2] == ["BUDGET", "zoo,"]
    ended = await run(served, "--entries", "3")
    assert (ended.out, ended.err.startswith("the ledger has no entry from ")) == ("", True)
    file = tmp_path / "ledger.csv"
    assert "--since 30d" in (await run(served, "--export", str(file))).err
    assert file.read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--by", "model,colour"), "by"),
        (("--by", "day,day"), "by"),
        (("--since", "yesterday"), "since"),
        (("--since", "0d"), "since"),
        (("--until", "26.11.2026"), "until"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "filter.since_day"),
        (("--entries", "3", "--export", "-"), "export"),
        (("--export", "-", "--json"), "json"),
    ],
)
async def test_wrong_usage_is_said(served: Served, arguments: tuple[str, ...], field: str) -> None:
    ended = await run(served, *arguments)
    assert ended.code == 2
    if "--json" in arguments:
        assert json.loads(ended.out)["error"]["field"] == field
    else:
        assert ended.err.endswith(f"(field: {field})\n")
