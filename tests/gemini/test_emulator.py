"""The wire, by google-genai's own client."""

import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from google.genai import errors, types
from google.genai.client import AsyncClient
from pydantic import BaseModel, TypeAdapter

from tests.gemini.bill import call_cost
from tests.gemini.config import MODELS, TEST_KEY, Config, default_config
from tests.gemini.conftest import client_of, directed
from tests.gemini.server import Emulator, emulator
from tests.gemini.usage import Usage

FLASH = "gemini-3.8-flash"


async def test_an_answer_comes_with_its_usage_and_is_billed(gemini: Emulator, client: AsyncClient) -> None:
    prompt = directed("Say it.", answer="three dogs", thinking_tokens=5)
    answer = await client.models.generate_content(model=FLASH, contents=prompt)
    tokens = -(-len(prompt) // 4)
    assert answer.text == "three dogs"
    assert answer.candidates[0].finish_reason == "STOP"
    assert answer.model_version == FLASH
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (tokens, 3, 5)
    assert usage.total_token_count == tokens + 8
    assert [(d.modality.value, d.token_count) for d in usage.prompt_tokens_details] == [("TEXT", tokens)]
    [line] = gemini.bill.lines
    assert (line.project, line.model, line.model_version, line.ending) == ("test", FLASH, FLASH, "complete")
    assert line.response_id == answer.response_id
    assert line.usage == Usage({"TEXT": tokens}, answer=3, thinking=5)
    # $0.75 a million in, $3.75 out.
    assert line.cost_nanousd == tokens * 750 + 8 * 3_750 == gemini.bill.total_nanousd


async def test_an_answer_without_directive_is_the_same_every_time(client: AsyncClient) -> None:
    answers = [await client.models.generate_content(model=FLASH, contents="What is it?") for _ in range(2)]
    assert [answer.text for answer in answers] == ["You said: What is it?"] * 2


async def test_a_stream_says_its_usage_so_far_in_every_chunk(gemini: Emulator, client: AsyncClient) -> None:
    prompt = directed(answer_tokens=37, thinking_tokens=10, chunks=5)
    chunks = [c async for c in await client.models.generate_content_stream(model=FLASH, contents=prompt)]
    assert len("".join(chunk.text for chunk in chunks)) == 4 * 37
    assert [chunk.usage_metadata.candidates_token_count for chunk in chunks] == [7, 14, 22, 29, 37]
    assert {chunk.usage_metadata.thoughts_token_count for chunk in chunks} == {10}
    assert [chunk.candidates[0].finish_reason for chunk in chunks] == [None] * 4 + ["STOP"]
    assert {(chunk.model_version, chunk.response_id) for chunk in chunks} == {(FLASH, gemini.bill.lines[0].response_id)}
    assert gemini.bill.lines[0].usage.answer == 37


async def test_vertex_counts_in_the_last_chunk_alone(gemini: Emulator, vertex: AsyncClient) -> None:
    stream = await vertex.models.generate_content_stream(model=FLASH, contents=directed(answer_tokens=9, chunks=3))
    said = [chunk.usage_metadata async for chunk in stream]
    assert [(usage.prompt_token_count, usage.candidates_token_count) for usage in said[:-1]] == [(None, None)] * 2
    assert {usage.traffic_type for usage in said} == {types.TrafficType.ON_DEMAND}
    assert said[-1].candidates_token_count == gemini.bill.lines[0].usage.answer == 9


async def test_a_stream_is_paced(client: AsyncClient) -> None:
    prompt = directed(answer_tokens=4, chunks=3, first_token_s=0.1, chunk_s=0.05)
    start = asyncio.get_running_loop().time()
    async for _ in await client.models.generate_content_stream(model=FLASH, contents=prompt):
        pass
    assert asyncio.get_running_loop().time() - start >= 0.2


@pytest.mark.parametrize(
    ("cap", "thinking", "answer", "finish"),
    [(100, 10, 20, "STOP"), (30, 10, 20, "STOP"), (25, 10, 15, "MAX_TOKENS"), (10, 10, 0, "MAX_TOKENS")],
)
async def test_the_cap_holds_thinking_first(
    client: AsyncClient, cap: int, thinking: int, answer: int, finish: str
) -> None:
    got = await client.models.generate_content(
        model=FLASH,
        contents=directed(answer_tokens=20, thinking_tokens=10),
        config={"max_output_tokens": cap},
    )
    assert got.usage_metadata.thoughts_token_count == thinking
    assert (got.usage_metadata.candidates_token_count or 0) == answer
    assert len(got.text or "") == 4 * answer
    assert got.candidates[0].finish_reason == finish


async def test_thinking_follows_level_and_budget(client: AsyncClient) -> None:
    async def thinking(**config: object) -> tuple[int | None, list[str]]:
        answer = await client.models.generate_content(model=FLASH, contents="x", config={"thinking_config": config})
        thoughts = [part.text for part in answer.candidates[0].content.parts if part.thought]
        return answer.usage_metadata.thoughts_token_count, thoughts

    assert await thinking(thinking_level="LOW") == (16, [])
    assert await thinking(thinking_level="HIGH", include_thoughts=True) == (256, ["I think."])
    assert await thinking(thinking_level="HIGH", thinking_budget=0) == (None, [])


class Colour(BaseModel):
    name: str
    parts: list[int]
    mood: str | None


@pytest.mark.parametrize("field", ["response_schema", "response_json_schema"])
async def test_a_schema_is_answered_with_the_least_that_it_allows(client: AsyncClient, field: str) -> None:
    schema = Colour if field == "response_schema" else Colour.model_json_schema()
    answer = await client.models.generate_content(
        model=FLASH, contents="x", config={"response_mime_type": "application/json", field: schema}
    )
    assert Colour.model_validate_json(answer.text).name == ""


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_blocked_answer_is_billed_for_its_prompt(gemini: Emulator, client: AsyncClient, streamed: bool) -> None:
    for directive in ({"finish": "SAFETY"}, {"block": "PROHIBITED_CONTENT"}):
        prompt = directed("a bad question", **directive)
        if streamed:
            [answer] = [c async for c in await client.models.generate_content_stream(model=FLASH, contents=prompt)]
        else:
            answer = await client.models.generate_content(model=FLASH, contents=prompt)
        if "block" in directive:
            assert not answer.candidates
            assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
        else:
            assert answer.candidates[0].finish_reason == "SAFETY"
            assert not answer.text
        tokens = -(-len(prompt) // 4)
        assert gemini.bill.lines[-1].usage == Usage({"TEXT": tokens})
        assert gemini.bill.lines[-1].cost_nanousd == tokens * 750


async def test_the_model_that_answers_is_named_and_its_price_taken() -> None:
    config = default_config(reroutes={"gemini-2.5-flash": "gemini-3.5-flash-lite"})
    async with emulator(config) as gemini, client_of(gemini.base_url) as client:
        rerouted = await client.models.generate_content(model="gemini-2.5-flash", contents="12345678")
        prompt = directed(model_version="gemini-4-argon", answer="yes!")
        chosen = await client.models.generate_content(model=FLASH, contents=prompt)
    assert rerouted.model_version == "gemini-3.5-flash-lite"
    assert chosen.model_version == "gemini-4-argon"
    first, second = gemini.bill.lines
    assert (first.model, first.model_version) == ("gemini-2.5-flash", "gemini-3.5-flash-lite")
    assert first.cost_nanousd == 2 * 300 + first.usage.answer * 2_500
    assert second.cost_nanousd == call_cost(second.usage, MODELS["gemini-4-argon"])


async def test_tokens_are_counted_without_a_bill(gemini: Emulator, client: AsyncClient) -> None:
    assert (await client.models.count_tokens(model=FLASH, contents=["12345", "1"])).total_tokens == 3
    assert not gemini.bill.lines


async def test_embeddings_one_for_each_content_or_one_for_all_parts(
    gemini: Emulator, client: AsyncClient, vertex: AsyncClient
) -> None:
    old = await client.models.embed_content(
        model="gemini-embedding-001", contents=["12345", "b"], config={"output_dimensionality": 8}
    )
    assert [len(embedding.values) for embedding in old.embeddings] == [8, 8]
    assert sum(x * x for x in old.embeddings[0].values) == pytest.approx(1)
    assert gemini.bill.lines[-1].usage == Usage({"TEXT": 3})
    assert gemini.bill.lines[-1].cost_nanousd == 3 * 150
    new = await client.models.embed_content(model="gemini-embedding-2", contents=["a", "b"])
    assert [len(embedding.values) for embedding in new.embeddings] == [3072]
    assert gemini.bill.lines[-1].cost_nanousd == 2 * 200
    by_vertex = await vertex.models.embed_content(model="gemini-embedding-2", contents=["a", "b"])
    assert by_vertex.embeddings[0].values == new.embeddings[0].values
    assert by_vertex.embeddings[0].statistics.token_count == 2


async def test_vertex_takes_labels_and_logs_them(gemini: Emulator, client: AsyncClient, vertex: AsyncClient) -> None:
    labels = {"chiasm_attempt": "0a1b-2c"}
    answer = await vertex.models.generate_content(model=FLASH, contents="x", config={"labels": labels})
    async for _ in await vertex.models.generate_content_stream(model=FLASH, contents="x", config={"labels": labels}):
        pass
    assert [line.labels for line in gemini.bill.lines] == [labels, labels]
    async with aiohttp.ClientSession(gemini.base_url) as http:
        rows = [json.loads(line) for line in (await (await http.get("/_log")).text()).splitlines()]
        bill = await (await http.get("/_bill")).json()
        refused = await http.post(
            f"/v1/models/{FLASH}:generateContent",
            json={"contents": [{"parts": [{"text": "x"}]}], "labels": labels},
            headers={"x-goog-api-key": TEST_KEY},
        )
    assert rows[0]["model"] == f"publishers/google/models/{FLASH}"
    assert rows[0]["full_request"]["labels"] == labels
    assert rows[0]["full_response"]["responseId"] == answer.response_id
    assert rows[0]["full_response"]["usageMetadata"]["promptTokenCount"] == 1
    assert bill["total_nanousd"] == gemini.bill.total_nanousd == sum(line["cost_nanousd"] for line in bill["lines"])
    assert refused.status == 400, "the developer API knows no labels"
    with pytest.raises(errors.ClientError, match="Invalid label"):
        await vertex.models.generate_content(model=FLASH, contents="x", config={"labels": {"Tenant": "X"}})


async def test_models_are_listed_in_both_flavours(client: AsyncClient, vertex: AsyncClient) -> None:
    assert [model.name async for model in await client.models.list()] == [f"models/{name}" for name in MODELS]
    assert (await client.models.get(model=FLASH)).output_token_limit == 65_536
    assert (await vertex.models.get(model=FLASH)).name == f"publishers/google/models/{FLASH}"


@pytest.mark.parametrize(
    ("prompt", "config", "code"),
    [
        (directed(answr="x"), {}, 400),
        (directed(model_version="gemini-9"), {}, 404),
        (directed(fault={"kind": "none"}), {}, 400),
        (types.Part.from_bytes(data=b"no image", mime_type="image/png"), {}, 400),
        (types.Part.from_bytes(data=b"%PDF-1.7 broken", mime_type="application/pdf"), {}, 400),
        (types.Part.from_bytes(data=b"x", mime_type="application/zip"), {}, 400),
        (types.Part.from_uri(file_uri="https://example.org/cat.png", mime_type="image/png"), {}, 400),
        ("x", {"cached_content": "cachedContents/none"}, 403),
    ],
)
async def test_what_the_api_would_refuse_is_refused_without_a_bill(
    gemini: Emulator, client: AsyncClient, prompt: object, config: dict[str, object], code: int
) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model=FLASH, contents=prompt, config=config)
    assert caught.value.code == code
    assert not gemini.bill.lines


async def test_a_prompt_longer_than_the_model_takes_is_refused() -> None:
    config = default_config(models={FLASH: replace(MODELS[FLASH], input_token_limit=10)})
    async with emulator(config) as gemini, client_of(gemini.base_url) as client:
        await client.models.generate_content(model=FLASH, contents="x" * 40)
        with pytest.raises(errors.ClientError, match="input token count"):
            await client.models.generate_content(model=FLASH, contents="x" * 41)


async def test_a_wrong_key_or_model_is_told(gemini: Emulator, client: AsyncClient) -> None:
    with pytest.raises(errors.ClientError, match="API key not valid"):
        async with client_of(gemini.base_url, key="another") as stranger:
            await stranger.models.generate_content(model=FLASH, contents="x")
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model="gemini-embedding-2", contents="x")
    assert caught.value.code == 404


async def test_it_runs_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(TypeAdapter(Config).dump_json(default_config()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.gemini", "--config", tmp_path / "config.json"),
        *("--ready-file", tmp_path / "ready", "--bill-file", tmp_path / "bill"),
    )
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "ready").exists():
                assert process.returncode is None
                await asyncio.sleep(0.02)
        base_url = (tmp_path / "ready").read_text()
        async with client_of(base_url) as client, aiohttp.ClientSession(base_url) as http:
            answer = await client.models.generate_content(model=FLASH, contents="1234")
            rules = [{"at": "generate", "probability": 1, "fault": {"kind": "error", "code": 500}}]
            assert (await http.post("/_faults", json=rules)).status == 200
            assert (await http.post("/_faults", json=[{"fault": {"kind": "flood"}}])).status == 400
            with pytest.raises(errors.ServerError):
                await client.models.generate_content(model=FLASH, contents="1234")
            quotas = await (await http.get("/_quotas")).json()
            assert (await http.get("/_idle")).status == 200
        assert quotas["used"]["test"][FLASH]["admitted"] == 2
        assert quotas["refused"] == {}
        line = json.loads((tmp_path / "bill").read_text())
        assert line["response_id"] == answer.response_id
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def test_keys_are_not_in_the_configurations_repr() -> None:
    assert TEST_KEY not in repr(default_config())
