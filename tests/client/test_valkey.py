"""The stack's own Valkey: kept, locked, and never left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import redis.asyncio

from chiasm.command.valkey import own_valkey

_HOLD = """
import asyncio, sys
from pathlib import Path
from chiasm.command.valkey import own_valkey

async def main():
    async with own_valkey(Path(sys.argv[1])) as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_is_written_is_there_in_the_next_run(tmp_path: Path) -> None:
    async with own_valkey(tmp_path) as url, redis.asyncio.Redis.from_url(url) as client:
        await client.set("spent", "42")
    async with own_valkey(tmp_path) as url, redis.asyncio.Redis.from_url(url) as client:
        assert await client.get("spent") == b"42"
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


async def test_a_second_stack_cannot_have_the_folder(tmp_path: Path) -> None:
    async with own_valkey(tmp_path):
        with pytest.raises(OSError, match="another stack has"):
            async with own_valkey(tmp_path):
                pass


async def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        url = (await holder.stdout.readline()).decode().strip()
    async with redis.asyncio.Redis.from_url(url) as client:
        server = os.pidfd_open((await client.info("server"))["process_id"])
    try:
        holder.send_signal(signal.SIGKILL)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(server, ended.set)
        async with asyncio.timeout(20):
            await ended.wait()
        asyncio.get_running_loop().remove_reader(server)
        await holder.wait()
    finally:
        os.close(server)
