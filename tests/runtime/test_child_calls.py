"""Children that bloat, hang, crash or are left behind."""

import asyncio
import operator
import os
import signal
import sys
import time

import pytest

from services.runtime.child_calls import CallFailed, ChildCalls

_HOLD = """
import asyncio, multiprocessing, time
from services.runtime.child_calls import ChildCalls

calls = ChildCalls(len, children=1, memory_bytes=2**26, timeout_s=10)
asyncio.run(calls(b""))
print(multiprocessing.active_children()[0].pid, flush=True)
time.sleep(60)
"""


def parent_of(_data: bytes) -> int:
    return os.getppid()


def do(_data: bytes, what: str) -> str:
    match what:
        case "hang":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "crash":
            os.abort()
    return what


def calls_of(function, *, timeout_s: float = 10) -> ChildCalls:
    return ChildCalls(function, children=1, memory_bytes=2**26, timeout_s=timeout_s)


async def test_a_child_serves_many_calls_from_any_loop() -> None:
    calls = calls_of(parent_of)
    assert {await calls(b"") for _ in range(3)} == {os.getpid()}
    assert await asyncio.to_thread(lambda: asyncio.run(calls(b""))) == os.getpid()


async def test_what_the_function_raises_fails_its_call_alone() -> None:
    calls = calls_of(int)
    with pytest.raises(CallFailed, match="ValueError"):
        await calls(b"many")
    assert await calls(b"11", base=2) == 3


async def test_a_child_has_no_more_memory_than_it_may() -> None:
    calls = calls_of(operator.mul)
    with pytest.raises(CallFailed, match="MemoryError"):
        await calls(b"x", 2**27)
    assert len(await calls(b"x", 2**20)) == 2**20


async def test_bytes_that_are_too_many_for_a_child_fail_their_call_alone() -> None:
    calls = calls_of(len)
    with pytest.raises(CallFailed, match="the child ended"):
        await calls(bytes(2**27))
    assert await calls(bytes(2**20)) == 2**20


@pytest.mark.parametrize("what", ["hang", "exit", "crash"])
async def test_a_child_that_ends_is_replaced(what: str) -> None:
    calls = calls_of(do, timeout_s=0.5)
    with pytest.raises(CallFailed, match="the child ended"):
        await calls(b"", what)
    assert await calls(b"", "nothing") == "nothing"


async def test_children_end_when_their_parent_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _HOLD, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        child = os.pidfd_open(int(await parent.stdout.readline()))
    try:
        parent.send_signal(signal.SIGKILL)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(child, ended.set)
        async with asyncio.timeout(20):
            await ended.wait()
        asyncio.get_running_loop().remove_reader(child)
        await parent.communicate()
    finally:
        os.close(child)
