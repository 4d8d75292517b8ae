"""The command as a real process against a scripted gateway."""

import asyncio
import json
import os
import pty
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from . import scripted
from .conftest import COMMAND, ROOT, end, environment, run_command, start_command
from .scripted import Context, Scripted, delta, fail, finished, started


async def test_text_streams_before_the_answer_ends(server: Scripted, picture: Path) -> None:
    go_on = asyncio.Event()

    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        yield delta("two ")
        await go_on.wait()
        yield delta("circles")
        yield finished()

    server.stream = script
    process = await start_command("ask", str(picture), "how many?", CHIASM_ADDRESS=server.address)
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readexactly(4) == b"two "
    go_on.set()
    ended = await end(process)
    assert (ended.code, ended.out) == (0, "circles\n")
    assert "models/tiny · first token" in ended.err
    assert ended.err.endswith("260 + 2 tokens · $0.00000125\n")
    assert "\x1b" not in ended.out + ended.err


async def test_json_is_one_object(server: Scripted, picture: Path) -> None:
    server.stream = _finding
    ended = await run_command(
        "detect", str(picture), "circle", "--json", "--model", "tiny", "--address", server.address
    )
    assert ended.code == 0
    assert ended.err == ""
    answer = json.loads(ended.out)
    assert list(answer) == [
        "text",
        "model",
        "finish_reason",
        "usage",
        "confidence",
        "boxes",
        "route",
        "request_id",
        "time_to_first_token_ms",
        "total_ms",
    ]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"] == {
        "input_tokens": 260,
        "output_tokens": 2,
        "media_input_tokens": 256,
        "cached_input_tokens": 0,
        "reasoning_output_tokens": 0,
        "cost_nanousd": 1250,
    }
    assert answer["boxes"][0] == {
        "label": "circle",
        "x_min": 20,
        "y_min": 30,
        "x_max": 80,
        "y_max": 90,
        "confidence": 0.75,
    }
    assert answer["route"]["attempts"] == [
        {"model": "models/tiny", "revision": "abc", "status": "OK", "time_to_first_token_ms": 120, "duration_ms": 1000}
    ]
    assert 0 < answer["time_to_first_token_ms"] <= answer["total_ms"]
    assert server.requests[0].model == "models/tiny"


async def test_a_superseded_answer_starts_again(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        for event in (started(), delta("thr"), scripted.superseded("models/b"), started("models/b", 2), delta("two")):
            yield event
        yield finished()

    server.stream = script
    ended = await run_command("caption", str(picture), "--address", server.address)
    assert (ended.code, ended.out) == (0, "thr\ntwo\n")
    assert "the answer starts again with models/b: its stream broke" in ended.err


@pytest.mark.parametrize(
    ("status", "reason", "code", "says"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "MEDIA_CORRUPT", 2, "so it is (field: messages[0].parts[0].media)"),
        (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", 2, "see `chiasm models`"),
        (grpc.StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING", 2, "so it is"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 3, "try again in 7 s"),
        (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", 3, "try again in 7 s"),
        (grpc.StatusCode.CANCELLED, "CANCELLED", 3, "try again"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", 4, "--timeout"),
        (grpc.StatusCode.INTERNAL, "INTERNAL", 5, "its logs know this as c-42"),
    ],
)
async def test_an_error_has_its_exit_code_and_message(
    server: Scripted, picture: Path, status: grpc.StatusCode, reason: str, code: int, says: str
) -> None:
    field = "messages[0].parts[0].media"

    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        await fail(context, status, "so it is", reason, field=field, retry_after_s=7, correlation_id="c-42")

    server.stream = script
    ended = await run_command("caption", str(picture), "--address", server.address)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("chiasm: ")
    assert says in ended.err
    assert "Traceback" not in ended.err

    ended = await run_command("caption", str(picture), "--json", "--address", server.address)
    assert ended.code == code
    error = json.loads(ended.out)["error"]
    assert (error["code"], error["reason"], error["field"]) == (status.name, reason, field)
    assert says in error["message"]


async def test_a_stream_without_finished_is_a_fault(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        yield delta("tw")

    server.stream = script
    ended = await run_command("caption", str(picture), "--address", server.address)
    assert (ended.code, ended.out) == (5, "tw\n")
    assert "the stream ended before the answer was complete" in ended.err


async def test_the_timeout_ends_the_command(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        await asyncio.Event().wait()

    server.stream = script
    ended = await run_command("caption", str(picture), "--timeout", "0.5", "--address", server.address)
    assert ended.code == 4
    assert "--timeout" in ended.err


async def test_no_server_is_said_at_once(picture: Path) -> None:
    with socket.socket() as unheard:  # bound, so that nobody else takes the port; not listening
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        for command in (("caption", str(picture)), ("models",)):
            async with asyncio.timeout(20):
                ended = await run_command(*command, "--address", address)
            assert ended.code == 3
            assert ended.err == (
                f"chiasm: no Chiasm gateway answers at {address}: "
                "start one with `chiasm up`, or name another with --address\n"
            )


async def test_a_missing_file_is_said(tmp_path: Path) -> None:
    ended = await run_command("caption", str(tmp_path / "none.png"))
    assert ended.code == 2
    assert ended.err == f"chiasm: cannot read {tmp_path / 'none.png'}: No such file or directory (field: image)\n"


async def test_wrong_usage_is_said(picture: Path) -> None:
    assert (await run_command("ask", str(picture))).code == 2
    assert (await run_command("caption", str(picture), "--max-tokens", "0")).code == 2
    assert (await run_command("detect", str(picture), "circle", "--out", "boxes.txt")).code == 2


async def test_ctrl_c_cancels_the_call(server: Scripted, picture: Path) -> None:
    cancelled = asyncio.Event()

    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        yield delta("tw")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server.stream = script
    process = await start_command("caption", str(picture), "--address", server.address)
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readexactly(2) == b"tw"
    process.send_signal(signal.SIGINT)
    ended = await end(process)
    assert (ended.code, ended.err) == (130, "chiasm: interrupted\n")
    async with asyncio.timeout(10):
        await cancelled.wait()


@pytest.mark.parametrize("no_colour", ["", "1"])
async def test_a_terminal_gets_a_dim_summary_and_no_control_codes(
    server: Scripted, picture: Path, no_colour: str
) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        for event in (started(), delta("safe\x1b[2Jtext"), finished()):
            yield event

    server.stream = script
    terminal, inside = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("caption", str(picture), "--address", server.address),
        cwd=ROOT,
        env=environment(NO_COLOR=no_colour),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "safe�[2Jtext\r\n" in shown
    assert ("\x1b[2mmodels/tiny" in shown) is (not no_colour)
    assert ("\x1b" in shown) is (not no_colour)


async def test_models_are_listed(server: Scripted) -> None:
    ended = await run_command("models", "--address", server.address)
    assert ended.code == 0
    heading, tiny, second = ended.out.splitlines()
    assert heading.split() == ["MODEL", "STATE", "PROVIDER", "PRICE", "TASKS"]
    assert tiny.split("  ")[0] == "models/tiny"
    assert "$0.05 + $0.2 per million tokens" in tiny
    assert "not ready" in second
    ended = await run_command("models", "tiny", "--json", "--address", server.address)
    assert json.loads(ended.out)["models"][0]["max_output_tokens"] == 64
    assert (await run_command("models", "other", "--address", server.address)).code == 2


async def test_help_tells_the_exit_codes() -> None:
    ended = await run_command("--help", COLUMNS="400")
    assert ended.code == 0
    assert "130 interrupted" in ended.out
    for command in ("ask", "caption", "detect", "read", "segment", "models", "up"):
        assert f" {command} " in ended.out


async def _finding(context: Context) -> AsyncIterator[Message]:
    yield started()
    yield delta("<loc0307>...")
    yield finished(scripted.found("circle", 20, 30, 80, 90, confidence=0.75))
