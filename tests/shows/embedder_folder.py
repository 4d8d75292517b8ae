"""The embedder: real pictures, films and PDFs indexed by `chiasm index`, and broken ones among them."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from chiasm import AsyncClient
from evals.figures import Figure
from tests.shows.corpus import real_files, salt
from tests.shows.embedder_stack import TINY_SIGLIP, embedder

TIMEOUT_S = 900
SEED = 6


async def folder() -> list[Figure]:
    """real files that packages ship, then the same with broken ones among them"""
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as temporary:
        files, logs = Path(temporary) / "files", Path(temporary) / "logs"
        real = await asyncio.to_thread(real_files, files)
        async with embedder(logs, {"CHIASM_EMBEDDER_MODELS": str(TINY_SIGLIP)}) as address:
            whole = await _index(files, address)
            broken = await asyncio.to_thread(salt, files, SEED)
            salted = await _index(files, address)
            async with AsyncClient(address) as client:
                collection = await client.get_collection("files")
    told = {failure["id"] for failure in salted["failures"]}
    print(f"  {len(real)} files, {collection.entries} entries", file=sys.stderr)
    for failure in salted["failures"]:
        print(f"  {failure['id']}: {failure['message']}", file=sys.stderr)
    return [
        Figure("folder_real_files", whole["stored"], "==", len(real)),
        Figure("folder_real_files_failed", len(whole["failures"]), "==", 0),
        Figure("folder_stored_again_unchanged", salted["unchanged"], "==", len(real)),
        Figure("folder_broken_files_told", len(told), "==", len(broken)),
        Figure("folder_others_told", len(told - {path.relative_to(files).as_posix() for path in broken}), "==", 0),
        Figure("folder_documents", collection.documents, "==", salted["stored"]),
    ]


async def _index(files: Path, address: str) -> dict:
    """What the command tells of it."""
    command = [sys.executable, "-m", "chiasm.command.main", "index", str(files), "--collection", "files"]
    process = await asyncio.create_subprocess_exec(
        *command, "--address", address, "--json", stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return json.loads(told)


SHOWS = (folder,)
