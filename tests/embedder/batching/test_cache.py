import asyncio

import numpy as np
import pytest

from services.embedder.batching.cache import OVERHEAD_BYTES, EmbeddedItem, EmbeddingCache, Key


def key(name: str) -> Key:
    return Key("revision", name.encode())


class Maker:
    """Makes embeddings of 256 bytes once it is let; the first `failures` fail."""

    def __init__(self, failures: int = 0) -> None:
        self.made = 0
        self.failures = failures
        self.gate = asyncio.Event()

    async def __call__(self) -> EmbeddedItem:
        self.made += 1
        number = self.made
        await self.gate.wait()
        if number <= self.failures:
            raise TimeoutError
        return EmbeddedItem(np.full(64, number, np.float32), 3, 2)


def callers(cache: EmbeddingCache, make: Maker, count: int, *, patient: bool = False) -> list[asyncio.Task]:
    return [asyncio.create_task(cache.made(key("a"), make, patient=patient)) for _ in range(count)]


async def made(cache: EmbeddingCache, name: str) -> None:
    make = Maker()
    make.gate.set()
    await cache.made(key(name), make, patient=False)


async def test_what_was_made_is_kept_as_it_was() -> None:
    cache = EmbeddingCache(10_000)
    assert cache.get(key("a")) is None
    await made(cache, "a")
    kept = cache.get(key("a"))
    assert (kept.vectors.tolist(), kept.tokens, kept.media_tokens) == ([1.0] * 64, 3, 2)
    with pytest.raises(ValueError, match="read-only"):
        kept.vectors[0] = 5
    assert cache.get(Key("another", b"a")) is None


async def test_what_is_kept_is_not_made_again() -> None:
    cache, make = EmbeddingCache(10_000), Maker()
    await made(cache, "a")
    for patient in (False, True):
        assert await cache.made(key("a"), make, patient=patient) is cache.get(key("a"))
    assert make.made == 0


async def test_it_knows_what_it_is_making_for_those_who_are_not_patient() -> None:
    cache, make = EmbeddingCache(0), Maker()
    for patient, is_making in ((True, False), (False, True)):
        (task,) = callers(cache, make, 1, patient=patient)
        await asyncio.sleep(0)
        assert cache.is_making(key("a")) is is_making
        task.cancel()
        await asyncio.wait({task})
    assert not cache.is_making(key("a"))


async def test_the_least_recently_used_go_first() -> None:
    cache = EmbeddingCache(2 * (256 + OVERHEAD_BYTES))
    for name in ("a", "b"):
        await made(cache, name)
    assert cache.get(key("a"))
    await made(cache, "c")
    assert [cache.get(key(name)) is not None for name in "abc"] == [True, False, True]


@pytest.mark.parametrize("max_bytes", [0, 256])
async def test_what_is_larger_than_the_cache_is_not_kept(max_bytes: int) -> None:
    cache = EmbeddingCache(max_bytes)
    await made(cache, "a")
    assert cache.get(key("a")) is None


async def test_all_who_ask_at_once_share_what_is_made_once() -> None:
    cache, make = EmbeddingCache(0), Maker()
    tasks = callers(cache, make, 5)
    await asyncio.sleep(0)
    make.gate.set()
    assert {id(embedded) for embedded in await asyncio.gather(*tasks)} == {id(tasks[0].result())}
    assert make.made == 1


async def test_the_patient_do_not_hold_others_up() -> None:
    cache, slow, fast = EmbeddingCache(0), Maker(), Maker()
    (patient,) = callers(cache, slow, 1, patient=True)
    await asyncio.sleep(0)
    fast.gate.set()
    await asyncio.gather(*callers(cache, fast, 2))
    assert not patient.done()
    slow.gate.set()
    await patient


@pytest.mark.parametrize("end", ["failed", "left"])
async def test_a_failure_is_its_callers_own(end: str) -> None:
    cache, make = EmbeddingCache(10_000), Maker(failures=end == "failed")
    first, *others = callers(cache, make, 4)
    await asyncio.sleep(0)
    if end == "left":
        first.cancel()
    make.gate.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert type(answers[0]) is {"failed": TimeoutError, "left": asyncio.CancelledError}[end]
    assert [answer.vectors[0] for answer in answers[1:]] == [2, 2, 2]
    assert make.made == 2


async def test_who_shares_may_leave_alone() -> None:
    cache, make = EmbeddingCache(0), Maker()
    first, left, stays = callers(cache, make, 3)
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait({left})
    make.gate.set()
    assert await first is await stays
