"""Children that bloat, hang, crash or are left behind."""

import asyncio
import gc
import multiprocessing
import operator
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from services.runtime.child_calls import ChildCalls
from services.runtime.children import CallFailed, ChildKilled, OutOfBounds

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


def hang(_data: bytes, begun: Path) -> None:
    begun.touch()
    time.sleep(60)


def do(_data: bytes, what: str) -> str:
    match what:
        case "hang":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "crash":
            os.abort()
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
    return what


@pytest.fixture
async def calls_of():
    made, before = [], set(multiprocessing.active_children())

    def calls(function, *, timeout_s: float = 10) -> ChildCalls:
        made.append(ChildCalls(function, children=1, memory_bytes=2**26, timeout_s=timeout_s))
        return made[-1]

    yield calls
    for calls in made:
        await calls.close()
    assert not set(multiprocessing.active_children()) - before


async def test_a_child_serves_many_calls_from_any_loop(calls_of) -> None:
    calls = calls_of(parent_of)
    assert {await calls(b"") for _ in range(3)} == {os.getpid()}
    assert await asyncio.to_thread(lambda: asyncio.run(calls(b""))) == os.getpid()


async def test_what_the_function_raises_fails_its_call_alone(calls_of) -> None:
    calls = calls_of(int)
    with pytest.raises(CallFailed, match="ValueError"):
        await calls(b"many")
    assert await calls(b"11", base=2) == 3


async def test_a_child_has_no_more_memory_than_it_may(calls_of) -> None:
    calls = calls_of(operator.mul)
    with pytest.raises(OutOfBounds, match="MemoryError"):
        await calls(b"x", 2**27)
    assert len(await calls(b"x", 2**20)) == 2**20


async def test_bytes_that_are_too_many_for_a_child_fail_their_call_alone(calls_of) -> None:
    calls = calls_of(len)
    with pytest.raises(OutOfBounds, match="the child ended"):
        await calls(bytes(2**27))
    assert await calls(bytes(2**20)) == 2**20


@pytest.mark.parametrize(
    ("what", "kind"), [("hang", OutOfBounds), ("exit", CallFailed), ("crash", CallFailed), ("be killed", ChildKilled)]
)
async def test_a_child_that_ends_is_replaced_and_tells_why(what: str, kind: type[CallFailed], calls_of) -> None:
    calls = calls_of(do, timeout_s=0.5)
    with pytest.raises(CallFailed, match="the child ended") as caught:
        await calls(b"", what)
    assert type(caught.value) is kind
    assert await calls(b"", "nothing") == "nothing"


async def test_a_child_that_is_killed_as_it_waits_is_replaced_unseen(calls_of) -> None:
    before, calls = set(multiprocessing.active_children()), calls_of(len)
    assert await calls(b"one") == 3
    (child,) = set(multiprocessing.active_children()) - before
    child.kill()
    child.join()
    assert await calls(b"three") == 5


async def at_work(calls: ChildCalls, begun: Path) -> asyncio.Task[None]:
    """A call of `hang` that has begun."""
    task = asyncio.create_task(calls(b"", begun))
    while not begun.exists():  # noqa: ASYNC110, ASYNC240 - nothing tells of it
        await asyncio.sleep(0)
    return task


async def test_calls_that_are_cancelled_as_they_wait_leave_nothing_behind(calls_of, tmp_path: Path) -> None:
    calls, data = calls_of(hang, timeout_s=60), bytes(100)
    hanging = await at_work(calls, tmp_path / "begun")
    before = sys.getrefcount(data)
    waiting = [asyncio.create_task(calls(data, tmp_path)) for _ in range(10)]
    await asyncio.sleep(0)
    assert sys.getrefcount(data) >= before + 10
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)
    del waiting, call
    gc.collect()
    assert sys.getrefcount(data) == before
    hanging.cancel()
    await asyncio.wait([hanging])


async def test_closing_ends_a_child_at_work_and_a_later_call_starts_another(calls_of, tmp_path: Path) -> None:
    before, calls = set(multiprocessing.active_children()), calls_of(hang, timeout_s=60)
    for begun in (tmp_path / "one", tmp_path / "another"):
        hanging = await at_work(calls, begun)
        await calls.close()
        assert not set(multiprocessing.active_children()) - before
        with pytest.raises(ChildKilled):
            await hanging


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
