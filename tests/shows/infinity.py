"""infinity-emb (https://github.com/michaelfeil/infinity) as a process of its own, in an environment of its own."""

import asyncio
import base64
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.stacks import READY_TIMEOUT_S, ROOT

_VENV = ROOT / "runs" / "infinity"
_REQUIREMENTS = Path(__file__).with_name("infinity.txt")
_LOCK = ROOT / "requirements" / "cpu.txt"
_MODEL = "siglip"


class Infinity:
    """A server that is ready."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def embed(self, picture: bytes) -> None:
        """Raises aiohttp.ClientResponseError where it is refused."""
        address = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        asked = {"model": _MODEL, "modality": "image", "input": [address], "encoding_format": "base64"}
        async with self._session.post("/embeddings", json=asked) as response:
            await response.read()


@asynccontextmanager
async def infinity(folder: Path, *, batch: int, log: Path) -> AsyncIterator[Infinity]:
    """Serves the checkpoint in `folder`, installed first where it is not there; at most `batch` pictures a pass."""
    await _install()
    port = _free_port()
    options = ["--model-id", folder, "--served-model-name", _MODEL, "--batch-size", batch, "--device", "cpu"]
    options += ["--dtype", "float32", "--no-bettertransformer", "--no-model-warmup", "--host", "127.0.0.1"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, (_VENV / "bin" / "infinity_emb", "v2", *options, "--port", port)),
            env=os.environ | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        timeout = aiohttp.ClientTimeout(READY_TIMEOUT_S)
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", timeout=timeout, raise_for_status=True, connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await _ready(session, process)
            yield Infinity(session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            async with session.get("/health"):
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.2)
    raise RuntimeError(f"infinity-emb ended with {process.returncode}")


async def _install() -> None:
    """The pins name all that it needs; torch's index is told as `make install` is."""
    stamp = _VENV / "installed"
    if stamp.exists() and stamp.stat().st_mtime >= _REQUIREMENTS.stat().st_mtime:
        return
    await _run(sys.executable, "-m", "venv", str(_VENV))
    index = ["--extra-index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    torch = next(line for line in _LOCK.read_text().splitlines() if line.startswith("torch=="))
    await _run(*pip, *index, torch, "-r", str(_REQUIREMENTS))
    stamp.touch()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise RuntimeError(f"{command[0]} failed: {' '.join(command[1:4])}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
