"""The stack's own Valkey: kept, locked, and never left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from chiasm.command.service_process import ServiceDied
from chiasm.command.valkey import own_valkey

_HOLD = """
import asyncio, sys
from pathlib import Path
from chiasm.command.valkey import own_valkey

async def main():
    async with own_valkey(Path(sys.argv[1])) as valkey:
        print(valkey.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_is_written_is_there_in_the_next_run(tmp_path: Path) -> None:
    async with own_valkey(tmp_path) as valkey, redis.asyncio.Redis.from_url(valkey.url) as client:
        await client.set("spent", "42")
    async with own_valkey(tmp_path) as valkey, redis.asyncio.Redis.from_url(valkey.url) as client:
        assert await client.get("spent") == b"42"
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


async def test_a_second_stack_cannot_have_the_folder(tmp_path: Path) -> None:
    async with own_valkey(tmp_path):
        with pytest.raises(OSError, match="another stack has"):
            async with own_valkey(tmp_path):
                pass


async def test_a_server_that_does_not_answer_in_time_is_told(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"Valkey does not answer after 0 s; its log is .*valkey\.log"):
        async with own_valkey(tmp_path, timeout_s=0):
            pass


async def test_its_death_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with own_valkey(tmp_path) as valkey:
        valkey.process.kill()
        with pytest.raises(ServiceDied, match="valkey ended by SIGKILL") as caught:
            async with asyncio.timeout(20):
                await valkey.wait_death()
    assert "Ready to accept connections" in caught.value.log_tail


async def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    async with _held(tmp_path) as (holder, server):
        holder.kill()
        await _ended(server)


async def test_the_folder_is_locked_until_the_server_of_a_killed_stack_has_ended(tmp_path: Path) -> None:
    async with _held(tmp_path) as (holder, server):
        signal.pidfd_send_signal(server, signal.SIGSTOP)
        holder.kill()
        await holder.wait()
        with pytest.raises(OSError, match="another stack has"):
            async with own_valkey(tmp_path):
                pass
        signal.pidfd_send_signal(server, signal.SIGCONT)
        await _ended(server)
        async with own_valkey(tmp_path):
            pass


@asynccontextmanager
async def _held(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Another process that runs a server, and a descriptor of the server's own process."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(folder), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        url = (await holder.stdout.readline()).decode().strip()
    async with redis.asyncio.Redis.from_url(url) as client:
        server = os.pidfd_open((await client.info("server"))["process_id"])
    try:
        yield holder, server
    finally:
        os.close(server)
        await holder.communicate()


async def _ended(process: int) -> None:
    """Once the process behind the descriptor has."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    async with asyncio.timeout(20):
        await ended.wait()
    loop.remove_reader(process)
