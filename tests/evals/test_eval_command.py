"""`chiasm eval` as a real process against a scripted gateway."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from tests.client.conftest import COMMAND, ROOT, end, environment, run_command, start_command
from tests.client.scripted import Context, Scripted, serving, whole_answer


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with serving() as scripted:
        yield scripted


async def test_the_suites_are_listed() -> None:
    ended = await run_command("eval", "--list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("tiny-answers ")
    assert "docvqa" in ended.out
    assert "--data: TextVQA_0.5.1_val.json and train_images/" in ended.out


async def test_a_suite_is_run_and_a_short_figure_is_the_exit_code(server: Scripted, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = await run_command(
        "eval", "tiny-answers", "--against", server.address, "--limit", "5", "--out", str(out), CHIASM_ADDRESS="no:1"
    )
    assert (ended.code, ended.out) == (1, "answers_exact 0 >=0.95 short\n")
    assert ended.err == f"report: {out}/report.html\n"
    assert json.loads((out / "report.json").read_text())["totals"]["items"] == 5


async def test_a_killed_run_goes_on_where_it_was(server: Scripted, tmp_path: Path) -> None:
    seventh = asyncio.Event()

    async def script(context: Context) -> Message:
        if len(server.requests) > 7:
            seventh.set()
            await asyncio.Event().wait()
        return await whole_answer(context)

    server.unary = script
    arguments = ("eval", "tiny-pope", "--address", server.address, "--limit", "12", "--concurrency", "1")
    process = await start_command(*arguments, "--out", str(tmp_path))
    async with asyncio.timeout(30):
        await seventh.wait()
    process.kill()
    await end(process)
    kept = (tmp_path / "results.jsonl").read_text().splitlines()
    server.unary, server.requests = whole_answer, []
    ended = await run_command(*arguments, "--out", str(tmp_path))
    assert ended.code == 0
    results = (tmp_path / "results.jsonl").read_text().splitlines()
    assert results[: len(kept)] == kept
    assert len({json.loads(line)["id"] for line in results}) == len(results) == 12
    assert 0 < len(kept) < 12
    assert sum(hasattr(request, "messages") for request in server.requests) == 12 - len(kept)


async def test_a_terminal_sees_how_it_goes(server: Scripted, tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("eval", "tiny-pope", "--address", server.address, "--limit", "30", "--out", str(tmp_path)),
        cwd=ROOT,
        env=environment(COLUMNS="120"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=inside,
    )
    os.close(inside)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "tiny-pope" in shown
    assert "30/30" in shown
    assert "score 0.500" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nope",), 2, "no suite is called nope"),
        (("docvqa",), 2, "docvqa needs --data"),
        (("docvqa", "--data", "."), 2, "holds none of: val_v1.0_withQT.json"),
        (("tiny-text", "--against", "127.0.0.1:1"), 3, "no Chiasm gateway answers at 127.0.0.1:1"),
        (("tiny-text", "--limit", "0"), 2, "--limit"),
    ],
)
async def test_what_is_wrong_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended = await run_command("eval", *arguments, "--out", str(tmp_path / "run"))
    assert ended.code == code
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_a_folder_that_cannot_be_written_is_said(server: Scripted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = await run_command(
        "eval", "tiny-text", "--address", server.address, "--out", str(tmp_path / "file" / "run"), "--limit", "1"
    )
    assert ended.code == 2
    assert "cannot write" in ended.err


async def test_a_client_installed_alone_is_told_what_to_install() -> None:
    code = "import sys; sys.modules['networkx'] = None; from chiasm.command.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        "eval",
        "tiny-text",
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ended = await end(process)
    assert ended.code == 2
    assert "pip install 'chiasm[evals]' (networkx is missing)" in ended.err
