"""A scripted gateway, a picture, and the command as a real process."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from chiasm.command.main import app

from .scripted import Scripted, serving

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "chiasm.command.main")
STEERING = ("CHIASM_", "OTEL_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
Run = Callable[..., Awaitable["Ended"]]


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


def environment(**extra: str) -> dict[str, str]:
    """This process's variables without those that steer the command, and `extra`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(STEERING)} | {
        "TERM": "xterm",
        "PYTHONPATH": str(ROOT),
        **extra,
    }


async def start_command(*arguments: str, cwd: Path = ROOT, **extra: str) -> asyncio.subprocess.Process:
    """The command, started, with its output in pipes."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=cwd,
        env=environment(**extra),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> Ended:
    """What the command leaves at its end, which must come within 30 s."""
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def run_command(*arguments: str, **extra: str) -> Ended:
    """The command, run to its end."""
    return await end(await start_command(*arguments, **extra))


async def invoke(*arguments: str) -> Ended:
    """The command, run to its end within this process, which is faster."""
    steering = dict.fromkeys(name for name in os.environ if name.startswith(STEERING))
    outcome = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=steering)
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return Ended(outcome.exit_code, outcome.stdout, outcome.stderr)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """A scripted gateway."""
    async with serving() as scripted:
        yield scripted


@pytest.fixture
def picture_bytes() -> bytes:
    """A white picture of 200 x 100 pixels, as a PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def picture(tmp_path: Path, picture_bytes: bytes) -> Path:
    """The same as a file."""
    path = tmp_path / "picture.png"
    path.write_bytes(picture_bytes)
    return path
