"""Every fault, seen through google-genai's own client, and what the bill says of it."""

import asyncio
import json

import aiohttp
import pytest
from google.genai import errors, types
from google.genai.client import AsyncClient

from tests.gemini.config import TEST_KEY, Fault, FaultRule, default_config
from tests.gemini.conftest import client_of, directed
from tests.gemini.server import Emulator, emulator

FLASH = "gemini-3.8-flash"


Chunks = list[types.GenerateContentResponse]


async def stream(client: AsyncClient, prompt: str, chunks: Chunks | None = None) -> Chunks:
    """What the stream says, put into `chunks` as it comes: they stay where an error ends it."""
    chunks = [] if chunks is None else chunks
    async for chunk in await client.models.generate_content_stream(model=FLASH, contents=prompt):
        chunks.append(chunk)
    return chunks


async def answer(client: AsyncClient, prompt: str) -> types.GenerateContentResponse:
    return await client.models.generate_content(model=FLASH, contents=prompt)


async def arrivals(gemini: Emulator, count: int) -> None:
    """Returns when `count` calls have been let in."""
    async with asyncio.timeout(10):
        while gemini.quotas.used["test"].get(FLASH, {}).get("admitted", 0) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_has_its_body_and_no_bill(
    gemini: Emulator, client: AsyncClient, code: int, status: str, streamed: bool
) -> None:
    prompt = directed(fault={"kind": "error", "code": code})
    with pytest.raises(errors.APIError) as caught:
        await (stream if streamed else answer)(client, prompt)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert not gemini.bill.lines
    assert not gemini.quotas.refused, "a fault is no fault of the caller"
    assert gemini.quotas.used["test"][FLASH]["admitted"] == 1


async def test_a_429_tells_its_quota_and_delay(client: AsyncClient) -> None:
    fault = {"kind": "error", "code": 429, "quota_id": "GenerateRequestsPerDayX", "retry_delay_s": 22.5}
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model=FLASH, contents=directed(fault=fault))
    details = {detail["@type"].rpartition(".")[2]: detail for detail in caught.value.details["error"]["details"]}
    [violation] = details["QuotaFailure"]["violations"]
    assert violation["quotaId"] == "GenerateRequestsPerDayX"
    assert violation["quotaDimensions"] == {"location": "global", "model": FLASH}
    assert details["RetryInfo"]["retryDelay"] == "22.5s"
    assert details["Help"]["links"]


async def test_a_fault_strikes_so_often_as_it_is_told(client: AsyncClient) -> None:
    prompt = directed(answer="at last", fault={"kind": "error", "times": 2})
    for _ in range(2):
        with pytest.raises(errors.ServerError):
            await client.models.generate_content(model=FLASH, contents=prompt)
    assert (await client.models.generate_content(model=FLASH, contents=prompt)).text == "at last"
    other = directed(answer="at last", fault={"kind": "error", "times": 2}, id="2")
    with pytest.raises(errors.ServerError):
        await client.models.generate_content(model=FLASH, contents=other)


async def test_a_cut_stream_delivers_all_that_was_written_and_bills_it(gemini: Emulator, client: AsyncClient) -> None:
    prompt = directed(answer_tokens=60_000, thinking_tokens=7, chunks=6, fault={"kind": "cut", "after_chunks": 4})
    chunks: Chunks = []
    with pytest.raises(aiohttp.ClientPayloadError):
        await stream(client, prompt, chunks)
    assert sum(len(chunk.text) for chunk in chunks) == 4 * 40_000
    [line] = gemini.bill.lines
    assert line.ending == "cut"
    assert line.usage.answer == chunks[-1].usage_metadata.candidates_token_count == 40_000
    assert line.usage.thinking == 7


async def test_a_cut_ends_with_fin_not_with_reset(gemini: Emulator) -> None:
    body = json.dumps(
        {"contents": [{"parts": [{"text": directed(answer_tokens=60_000, fault={"kind": "cut", "after_chunks": 2})}]}]}
    )
    host, port = gemini.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /v1/models/{FLASH}:streamGenerateContent?alt=sse HTTP/1.1\r\nHost: x\r\nx-goog-api-key: {TEST_KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    got = await reader.read()  # a reset would raise
    assert got.count(b"data: ") == 2
    assert not got.endswith(b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_a_stream_cut_before_its_first_chunk_costs_nothing(gemini: Emulator, client: AsyncClient) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await stream(client, directed(fault={"kind": "cut", "after_chunks": 0}))
    await gemini.idle()
    assert not gemini.bill.lines


async def test_a_cut_answer_is_billed_whole(gemini: Emulator, client: AsyncClient) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.models.generate_content(model=FLASH, contents=directed(answer="12345", fault={"kind": "cut"}))
    [line] = gemini.bill.lines
    assert (line.usage.answer, line.ending) == (2, "cut")


async def test_a_malformed_event_comes_after_whole_chunks(gemini: Emulator, client: AsyncClient) -> None:
    prompt = directed(answer_tokens=30, chunks=3, fault={"kind": "malformed_event", "after_chunks": 2})
    chunks: Chunks = []
    with pytest.raises(errors.UnknownApiResponseError):
        await stream(client, prompt, chunks)
    assert len(chunks) == 2
    assert gemini.bill.lines[0].usage.answer == 20
    with pytest.raises(json.JSONDecodeError):
        await answer(client, prompt)
    assert gemini.bill.lines[1].usage.answer == 30


async def test_an_error_may_come_as_an_event(gemini: Emulator, client: AsyncClient) -> None:
    fault = {"kind": "error_event", "code": 503, "after_chunks": 1}
    chunks: Chunks = []
    with pytest.raises(errors.ServerError) as caught:
        await stream(client, directed(answer_tokens=30, chunks=3, fault=fault), chunks)
    assert caught.value.status == "UNAVAILABLE"
    assert len(chunks) == 1
    assert (gemini.bill.lines[0].usage.answer, gemini.bill.lines[0].ending) == (10, "cut")


async def test_a_stream_may_end_without_a_finish_reason(gemini: Emulator, client: AsyncClient) -> None:
    chunks = await stream(client, directed(answer="abc", fault={"kind": "no_finish"}))
    assert "".join(chunk.text for chunk in chunks) == "abc"
    assert not any(chunk.candidates[0].finish_reason for chunk in chunks)
    assert gemini.bill.lines[0].ending == "complete"


async def test_json_may_break_off(client: AsyncClient) -> None:
    answer = await client.models.generate_content(
        model=FLASH,
        contents=directed(fault={"kind": "malformed_json"}),
        config={"response_mime_type": "application/json", "response_json_schema": {"type": "object"}},
    )
    assert answer.candidates[0].finish_reason == "STOP"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(answer.text)


async def test_thinking_may_eat_the_cap(gemini: Emulator, client: AsyncClient) -> None:
    answer = await client.models.generate_content(
        model=FLASH, contents=directed(fault={"kind": "thinking_only"}), config={"max_output_tokens": 50}
    )
    assert not answer.text
    assert answer.candidates[0].finish_reason == "MAX_TOKENS"
    assert answer.usage_metadata.thoughts_token_count == 50
    assert gemini.bill.lines[0].usage.thinking == 50


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_before_the_first_token_pays_for_the_whole(
    gemini: Emulator, client: AsyncClient, streamed: bool
) -> None:
    prompt = directed(answer_tokens=9, fault={"kind": "slow", "delay_s": 0.4})
    call = asyncio.create_task((stream if streamed else answer)(client, prompt))
    await arrivals(gemini, 1)
    call.cancel()
    await asyncio.wait([call])
    assert not gemini.bill.lines
    await gemini.idle()
    [line] = gemini.bill.lines
    assert (line.ending, line.usage.answer) == ("client_gone", 9)


async def test_who_leaves_mid_way_pays_for_the_whole(gemini: Emulator, client: AsyncClient) -> None:
    prompt = directed(answer_tokens=40, chunks=20, chunk_s=0.02)
    chunks: Chunks = []
    call = asyncio.create_task(stream(client, prompt, chunks))
    async with asyncio.timeout(10):
        while not chunks:  # noqa: ASYNC110
            await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    await gemini.idle()
    [line] = gemini.bill.lines
    assert (line.ending, line.usage.answer) == ("client_gone", 40)


async def test_rules_strike_at_random_the_same_way_for_one_seed() -> None:
    async def outcomes(seed: int) -> list[bool]:
        rules = (FaultRule(Fault("error"), probability=0.5),)
        async with emulator(default_config(faults=rules, seed=seed)) as gemini, client_of(gemini.base_url) as client:
            answers = [
                await asyncio.gather(client.models.generate_content(model=FLASH, contents="x"), return_exceptions=True)
                for _ in range(16)
            ]
            assert gemini.faults.struck["error"] == 16 - len(gemini.bill.lines)
        return [isinstance(answer, Exception) for [answer] in answers]

    first = await outcomes(1)
    assert first == await outcomes(1) != await outcomes(2)
    assert 0 < sum(first) < 16


async def test_rules_strike_where_they_are_told(gemini: Emulator, client: AsyncClient) -> None:
    gemini.faults.rules = (FaultRule(Fault("error"), at="count"), FaultRule(Fault("error", code=500), at="embed"))
    await client.models.generate_content(model=FLASH, contents="x")
    with pytest.raises(errors.ServerError):
        await client.models.count_tokens(model=FLASH, contents="x")
    with pytest.raises(errors.ServerError):
        await client.models.embed_content(model="gemini-embedding-2", contents="x")
    assert [line.kind for line in gemini.bill.lines] == ["generate"]


async def test_rules_that_are_replaced_strike_anew(gemini: Emulator, client: AsyncClient) -> None:
    for _ in range(2):
        gemini.faults.rules = [FaultRule(Fault("error", times=1))]
        with pytest.raises(errors.ServerError):
            await answer(client, "x")
        await answer(client, "x")
    assert gemini.faults.struck == {"error": 2}


async def test_an_emulator_that_stops_bills_what_it_sent_and_refuses_connections() -> None:
    async with emulator(default_config()) as gemini, client_of(gemini.base_url) as client:
        chunks: Chunks = []
        streaming = asyncio.create_task(stream(client, directed(answer_tokens=6, chunks=3, chunk_s=3600), chunks))
        silent = asyncio.create_task(answer(client, directed(fault={"kind": "slow"})))
        await arrivals(gemini, 2)
        async with asyncio.timeout(10):
            while not chunks:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await gemini.stop()
        with pytest.raises(aiohttp.ClientPayloadError):
            await streaming
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await silent
        with pytest.raises(aiohttp.ClientConnectorError):
            await answer(client, "x")
        assert chunks[-1].usage_metadata.candidates_token_count == 2
        [line] = gemini.bill.lines
        assert (line.ending, line.usage.answer) == ("cut", 2)
