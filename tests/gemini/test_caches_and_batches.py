"""Explicit caches and batches, by google-genai's own client, and their lines on the bill."""

from fractions import Fraction
from math import ceil

import pytest
from google.genai import errors, types
from google.genai.client import AsyncClient

from tests.gemini.config import default_config
from tests.gemini.conftest import Clock, client_of, directed
from tests.gemini.server import Emulator, emulator
from tests.gemini.usage import Usage

FLASH = "gemini-3.8-flash"
LONG = "x" * 4 * 10_000


async def test_a_cache_is_made_used_prolonged_and_ends(clock: Clock) -> None:
    async with emulator(default_config(), clock=clock) as gemini, client_of(gemini.base_url) as client:
        cache = await client.caches.create(model=FLASH, config={"contents": LONG, "ttl": "600s"})
        assert cache.usage_metadata.total_token_count == 10_000
        assert (cache.expire_time - cache.create_time).total_seconds() == 600
        # 10,000 tokens at $0.75 a million, and ten minutes at $1 a million token-hours
        write, storage = gemini.bill.lines
        assert (write.kind, write.cost_nanousd) == ("cache_write", 10_000 * 750)
        assert (storage.kind, storage.cost_nanousd) == ("cache_storage", ceil(Fraction(10_000 * 1_000 * 600, 3600)))

        config = {"cached_content": cache.name}
        answer = await client.models.generate_content(model=FLASH, contents="12345678", config=config)
        usage = answer.usage_metadata
        assert (usage.prompt_token_count, usage.cached_content_token_count) == (10_002, 10_000)
        assert [(d.modality.value, d.token_count) for d in usage.cache_tokens_details] == [("TEXT", 10_000)]
        call = gemini.bill.lines[2]
        assert call.usage == Usage({"TEXT": 10_002}, {"TEXT": 10_000}, answer=call.usage.answer)
        assert call.cost_nanousd == 2 * 750 + 10_000 * 75 + call.usage.answer * 3_750

        clock.now_s += 500
        later = await client.caches.update(name=cache.name, config={"ttl": "200s"})
        assert (later.expire_time - cache.expire_time).total_seconds() == 100
        assert gemini.bill.lines[3].cost_nanousd == ceil(Fraction(10_000 * 1_000 * 100, 3600))
        clock.now_s += 199
        assert (await client.caches.get(name=cache.name)).name == cache.name
        assert [c.name async for c in await client.caches.list()] == [cache.name]
        clock.now_s += 1
        with pytest.raises(errors.ClientError, match="not found"):
            await client.models.generate_content(model=FLASH, contents="x", config=config)
        assert len(gemini.bill.lines) == 4


async def test_a_deleted_cache_is_gone_and_nothing_is_returned(gemini: Emulator, client: AsyncClient) -> None:
    cache = await client.caches.create(model=FLASH, config={"system_instruction": LONG})
    total = gemini.bill.total_nanousd
    await client.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError):
        await client.caches.get(name=cache.name)
    assert gemini.bill.total_nanousd == total == 10_000 * 750 + 10_000 * 1_000


async def test_what_a_cache_cannot_be_is_refused(gemini: Emulator, client: AsyncClient) -> None:
    with pytest.raises(errors.ClientError, match="too small"):
        await client.caches.create(model=FLASH, config={"contents": "x" * 4 * 2_047})
    assert not gemini.bill.lines
    cache = await client.caches.create(model=FLASH, config={"contents": "x" * 4 * 2_048})
    with pytest.raises(errors.ClientError, match="has to be the same"):
        await client.models.generate_content(
            model="gemini-4-argon", contents="x", config={"cached_content": cache.name}
        )
    with pytest.raises(errors.ClientError, match="system_instruction"):
        await client.models.generate_content(
            model=FLASH, contents="x", config={"cached_content": cache.name, "system_instruction": "s"}
        )


def requests(*prompts: str) -> list[types.InlinedRequest]:
    return [
        types.InlinedRequest(contents=prompt, metadata={"attempt": str(number)})
        for number, prompt in enumerate(prompts)
    ]


async def test_a_batch_is_answered_together_at_half_the_price(gemini: Emulator, client: AsyncClient) -> None:
    prompts = directed(answer_tokens=10), directed(fault={"kind": "error", "code": 500}), "12345"
    batch = await client.batches.create(model=FLASH, src=requests(*prompts), config={"display_name": "three"})
    assert (batch.state, batch.display_name) == ("JOB_STATE_PENDING", "three")
    assert (await client.batches.get(name=batch.name)).state == "JOB_STATE_RUNNING"
    assert not gemini.bill.lines
    done = await client.batches.get(name=batch.name)
    assert done.state == "JOB_STATE_SUCCEEDED"
    first, second, third = done.dest.inlined_responses
    assert first.response.usage_metadata.candidates_token_count == 10
    assert second.error.code == 500
    assert third.response.text == "You said: 12345"
    assert third.metadata == {"attempt": "2"}
    tokens = -(-len(prompts[0]) // 4)
    one, two = gemini.bill.lines
    assert one.batch
    assert one.cost_nanousd == ceil(Fraction(tokens * 750 + 10 * 3_750, 2))
    assert (one.labels, two.labels) == ({"attempt": "0"}, {"attempt": "2"})
    await client.batches.get(name=batch.name)
    assert len(gemini.bill.lines) == 2, "a batch is answered once"
    assert [b.name async for b in await client.batches.list()] == [batch.name]
    await client.batches.delete(name=batch.name)
    with pytest.raises(errors.ClientError):
        await client.batches.get(name=batch.name)


async def test_a_batch_cancelled_in_time_costs_nothing(gemini: Emulator, client: AsyncClient) -> None:
    batch = await client.batches.create(model=FLASH, src=requests("x"))
    await client.batches.cancel(name=batch.name)
    assert [(await client.batches.get(name=batch.name)).state for _ in range(3)] == ["JOB_STATE_CANCELLED"] * 3
    assert not gemini.bill.lines
