import asyncio
from collections.abc import AsyncIterator

import pytest

from chiasm.v1 import generation_pb2 as pb
from services.runtime.errors import DeadlineExceeded
from services.runtime.streams import collect, each_within


class Source:
    """Counts up, one number whenever `release` is given, and notes when it is closed."""

    def __init__(self) -> None:
        self.release = asyncio.Semaphore(0)
        self.closed = False

    async def numbers(self) -> AsyncIterator[int]:
        try:
            for number in range(3):
                await self.release.acquire()
                yield number
        finally:
            self.closed = True


async def test_items_pass_and_the_source_is_closed() -> None:
    source = Source()
    for _ in range(3):
        source.release.release()
    assert [item async for item in each_within(10, source.numbers())] == [0, 1, 2]
    assert source.closed


async def test_a_wait_beyond_the_deadline_closes_the_source() -> None:
    source = Source()
    source.release.release()
    items = each_within(0.05, source.numbers())
    assert await anext(items) == 0
    with pytest.raises(DeadlineExceeded):
        await anext(items)
    assert source.closed


async def test_the_consumers_own_work_is_not_cut() -> None:
    source = Source()
    source.release.release()
    items = each_within(0.02, source.numbers())
    assert await anext(items) == 0
    await asyncio.sleep(0.05)  # longer than the deadline: what a slow reader does
    with pytest.raises(DeadlineExceeded):
        await anext(items)


async def test_collect_drops_what_a_superseded_attempt_said() -> None:
    async def events() -> AsyncIterator[pb.StreamGenerateResponse]:
        yield pb.StreamGenerateResponse(started=pb.Started(model="models/a", request_id="r"))
        yield pb.StreamGenerateResponse(delta=pb.Delta(text="wrong"))
        yield pb.StreamGenerateResponse(superseded=pb.Superseded(next_model="models/b"))
        yield pb.StreamGenerateResponse(started=pb.Started(model="models/b", request_id="r"))
        yield pb.StreamGenerateResponse(delta=pb.Delta(text="ri"))
        yield pb.StreamGenerateResponse(delta=pb.Delta(text="ght"))
        yield pb.StreamGenerateResponse(finished=pb.Finished(finish_reason=pb.FINISH_REASON_STOP))

    response = await collect(events())
    assert (response.text, response.model, response.request_id) == ("right", "models/b", "r")
    assert response.finished.finish_reason == pb.FINISH_REASON_STOP
