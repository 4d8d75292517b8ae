"""Children that stream, and bloat, hang, crash or are left behind in the midst of it."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from services.runtime.child_streams import ChildStreams
from services.runtime.children import CallFailed, ChildKilled, OutOfBounds


def numbers(data: bytes, last: str = "") -> Iterator[int]:
    """The bytes, then what `last` says."""
    yield from data
    match last:
        case "raise":
            raise ValueError("no more")
        case "hang":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "crash":
            os.abort()
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "bloat":
            bytes(2**27)


def written(data: bytes, path: Path) -> Iterator[bytes]:
    """Writes a byte into a file for each that is made."""
    while True:
        with path.open("ab") as file:
            file.write(b".")
        yield data


def process_ids(_data: bytes) -> Iterator[int]:
    yield os.getpid()


@pytest.fixture
def children() -> Callable[[], list[BaseProcess]]:
    """Those that have started since."""
    before = set(multiprocessing.active_children())
    return lambda: [child for child in multiprocessing.active_children() if child not in before]


@pytest.fixture
async def streams_of(children):
    made = []

    def streams(function, *, children: int = 1, timeout_s: float = 10) -> ChildStreams:
        made.append(ChildStreams(function, children=children, memory_bytes=2**26, timeout_s=timeout_s))
        return made[-1]

    yield streams
    for streams in made:
        await streams.close()
    assert not children()


async def all_of(stream) -> list:
    async with aclosing(stream):
        return [value async for value in stream]


async def test_values_come_in_order_and_a_child_serves_many_streams(streams_of, children) -> None:
    streams = streams_of(numbers)
    assert await all_of(streams(bytes(range(100)))) == list(range(100))
    assert await all_of(streams(b"")) == []
    assert len(children()) == 1


async def test_what_the_function_raises_fails_its_stream_alone(streams_of, children) -> None:
    streams = streams_of(numbers)
    async with aclosing(streams(b"ab", last="raise")) as stream:
        assert [await anext(stream), await anext(stream)] == list(b"ab")
        with pytest.raises(CallFailed, match="no more"):
            await anext(stream)
    (child,) = children()
    assert await all_of(streams(b"c")) == [ord("c")]
    assert children() == [child]


@pytest.mark.parametrize(
    ("what", "kind"), [("hang", OutOfBounds), ("exit", CallFailed), ("crash", CallFailed), ("be killed", ChildKilled)]
)
async def test_a_child_that_ends_is_replaced_and_tells_why(what: str, kind: type[CallFailed], streams_of) -> None:
    streams = streams_of(numbers, timeout_s=0.5)
    with pytest.raises(CallFailed, match="the child ended") as caught:
        await all_of(streams(b"ab", last=what))
    assert type(caught.value) is kind
    assert await all_of(streams(b"c")) == [ord("c")]


async def test_a_child_that_is_killed_as_it_waits_is_replaced_unseen(streams_of, children) -> None:
    streams = streams_of(numbers)
    assert await all_of(streams(b"a")) == [ord("a")]
    (child,) = children()
    child.kill()
    child.join()
    assert await all_of(streams(b"b")) == [ord("b")]


async def test_who_is_cancelled_before_a_stream_begins_leaves_nothing_of_it_to_the_next(
    streams_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, loop = streams_of(numbers), asyncio.get_running_loop()
    assert await all_of(streams(b"a")) == [ord("a")]
    (stream,) = streams._idle
    begin, entered, go_on = stream.begin, asyncio.Event(), threading.Event()

    def begin_late(*args: object) -> None:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait()
        begin(*args)

    monkeypatch.setattr(stream, "begin", begin_late)
    first = asyncio.create_task(all_of(streams(b"first")))
    await entered.wait()
    first.cancel()
    second = asyncio.create_task(all_of(streams(b"second")))
    await asyncio.sleep(0)
    go_on.set()
    assert await second == list(b"second")
    await asyncio.wait([first])
    assert first.cancelled()


async def test_a_child_has_no_more_memory_than_it_may(streams_of) -> None:
    streams = streams_of(numbers)
    with pytest.raises(OutOfBounds, match="MemoryError"):
        await all_of(streams(b"", last="bloat"))
    with pytest.raises(OutOfBounds, match="the child ended"):
        await all_of(streams(bytes(2**27)))
    assert await all_of(streams(b"c")) == [ord("c")]


async def test_values_are_made_as_they_are_taken(tmp_path: Path, streams_of) -> None:
    made = tmp_path / "made"
    async with aclosing(streams_of(written)(bytes(2**20), made)) as stream:
        for taken in range(1, 11):
            await anext(stream)
            assert made.stat().st_size <= taken + 1


async def test_waiting_for_the_taker_is_not_the_childs_time(streams_of) -> None:
    async with aclosing(streams_of(numbers, timeout_s=1)(b"abc")) as stream:
        assert await anext(stream) == ord("a")
        await asyncio.sleep(1.5)
        assert [value async for value in stream] == list(b"bc")


async def test_a_stream_that_is_left_ends_its_child_and_makes_room(streams_of, children) -> None:
    streams = streams_of(numbers)
    async with aclosing(streams(b"ab", last="hang")) as stream:
        assert await anext(stream) == ord("a")
        (child,) = children()
    assert child.exitcode == -signal.SIGKILL
    assert await all_of(streams(b"c")) == [ord("c")]


async def test_who_is_cancelled_as_it_waits_ends_the_child_and_makes_room(streams_of, children) -> None:
    streams = streams_of(numbers)
    waiting = asyncio.create_task(all_of(streams(b"", last="hang")))
    async with asyncio.timeout(30):
        while not children():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not children()
    assert await all_of(streams(b"c")) == [ord("c")]


async def test_streams_beyond_the_children_wait(streams_of) -> None:
    streams = streams_of(process_ids, children=2)
    ids = await asyncio.gather(*(all_of(streams(b"")) for _ in range(8)))
    assert len({pid for (pid,) in ids}) <= 2
