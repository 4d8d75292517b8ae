"""The models' thread, with work that fails in every way."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from services.embedder.batching import worker as module
from services.embedder.batching.worker import Worker


class Tensor:
    """Something large."""


class Panic(BaseException):
    """As pyo3 raises what panicked in Rust."""


@pytest.fixture
async def worker():
    worker = Worker()
    yield worker
    await worker.stop()


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
async def test_what_a_failed_pass_held_is_free_while_its_error_lives(worker: Worker) -> None:
    held = []

    def fill() -> None:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        raise MemoryError

    def embed() -> None:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        try:
            fill()
        except MemoryError as error:
            raise RuntimeError("out of memory") from error

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        await worker.run(embed)
    assert [tensor() for tensor in held] == [None, None]
    assert [frame.name for frame in caught.traceback][-1] == "embed"  # where it failed is still told


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_worker_that_waits_holds_nothing_of_its_last_work(worker: Worker, fails: bool) -> None:
    def embed(given: Tensor) -> Tensor:
        if fails:
            raise MemoryError
        return given

    tensor = Tensor()
    held = weakref.ref(tensor)
    with suppress(MemoryError):
        await worker.run(embed, tensor)
    del tensor
    async with asyncio.timeout(30):
        while held() is not None:
            await asyncio.to_thread(int)


@pytest.mark.parametrize("raised", [Panic("at lib"), StopIteration("at lib"), SystemExit("at lib")])
async def test_whatever_is_raised_reaches_the_caller_and_the_thread_lives_on(
    worker: Worker, raised: BaseException
) -> None:
    def fail() -> None:
        raise raised

    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="at lib") as caught:
            await worker.run(fail)
        assert caught.value.__cause__ is raised
        assert await worker.run(int) == 0


async def test_stopping_waits_for_the_work_that_has_begun() -> None:
    worker, entered, gate, ended = Worker(), threading.Event(), threading.Event(), []

    def work() -> None:
        entered.set()
        assert gate.wait(30)
        ended.append(True)

    run = asyncio.create_task(worker.run(work))
    await asyncio.to_thread(entered.wait, 30)
    stop = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    assert not stop.done()
    gate.set()
    await stop
    assert ended
    await run


async def test_stopping_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(module, "_STOP_S", 0.01)
    worker, gate = Worker(), threading.Event()
    run = asyncio.create_task(worker.run(gate.wait, 30))
    await asyncio.sleep(0)
    await worker.stop()
    assert "left amid its work" in caplog.text
    gate.set()
    await run
