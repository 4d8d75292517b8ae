"""Work that goes to its end under a cancellation."""

import asyncio

import pytest

from services.runtime.cancellation import to_the_end


async def test_what_work_gives_or_raises_passes() -> None:
    async def give() -> int:
        return 3

    async def fail() -> None:
        raise ValueError("bad")

    assert await to_the_end(give()) == 3
    with pytest.raises(ValueError, match="bad"):
        await to_the_end(fail())


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_waits_for_the_end(fails: bool) -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ended.set()
        if fails:
            raise ValueError("bad")

    waiting = asyncio.create_task(to_the_end(work()))
    await begun.wait()
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
