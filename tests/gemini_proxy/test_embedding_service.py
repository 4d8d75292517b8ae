"""gemini_proxy's embeddings over real sockets, before an emulated Gemini whose bill is the judge."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import hypot, isclose
from pathlib import Path

import grpc
import pytest
from google.genai import types

from chiasm.v1 import embedding_pb2 as pb
from chiasm.v1 import embedding_pb2_grpc, models_pb2, models_pb2_grpc
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.config import BudgetSettings, LimitSettings
from tests.gemini.config import TEST_KEY, Config, Fault, FaultRule, Project, Quota, default_config
from tests.gemini.conftest import client_of
from tests.gemini_proxy.serving import FLASH, Proxy, directed, failure_of, proxy, question
from tests.media_files import film, pdf, picture, sound

MODEL = "models/gemini-embedding-2"
TEXT_MODEL = "models/gemini-embedding-001"
BOTH = ("gemini-embedding-2", "gemini-embedding-001")
SIZE = 3_072


def request(*things: str | bytes, model: str = MODEL, **fields: object) -> pb.EmbedRequest:
    items = [
        pb.EmbedItem(text=thing) if isinstance(thing, str) else pb.EmbedItem(media={"data": thing}) for thing in things
    ]
    return pb.EmbedRequest(model=model, items=items, **fields)


def numbers(embedding: pb.Embedding) -> tuple[float, ...]:
    tensor = embedding.tensor
    assert tensor.dtype == pb.DATA_TYPE_FLOAT32
    return struct.unpack(f"<{tensor.shape[0]}f", tensor.data)


@asynccontextmanager
async def serving(
    folder: Path, redis_url: str | None, config: Config | None = None, **settings: object
) -> AsyncIterator[tuple[Proxy, embedding_pb2_grpc.EmbeddingServiceStub]]:
    async with (
        proxy(folder, redis_url, config, embedding_models=BOTH, **settings) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        yield served, embedding_pb2_grpc.EmbeddingServiceStub(channel)


async def balanced(served: Proxy) -> None:
    await served.settled()
    assert await served.cost() == served.gemini.bill.total_nanousd > 0


def faults(*, times: int | None, **fault: object) -> Config:
    return default_config(faults=(FaultRule(Fault("error", times=times, **fault), at="embed"),))


async def test_texts_and_media_get_one_vector_each_in_their_order(tmp_path: Path, redis_url: str) -> None:
    things = ["a red dog", picture(), sound(seconds=3), film(seconds=2), "a red dog", picture("JPEG")]
    async with serving(tmp_path, redis_url) as (served, stub):
        together = await stub.Embed(request(*things, request_id="r-1"))
        alone = [(await stub.Embed(request(thing))).embeddings[0] for thing in things]
        await balanced(served)
        entry = (await served.entries())[0]
        line = served.gemini.bill.lines[0]
    assert list(together.embeddings) == alone
    assert len({embedding.tensor.data for embedding in together.embeddings}) == len(set(things))
    for embedding in together.embeddings:
        assert list(embedding.tensor.shape) == [SIZE]
        assert isclose(hypot(*numbers(embedding)), 1, abs_tol=1e-5)
    assert (together.model, together.revision, together.request_id) == (MODEL, "gemini-embedding-2-3072d", "r-1")
    usage = together.usage
    assert (usage.input_tokens, usage.cost_nanousd) == (line.usage.input_tokens, line.cost_nanousd)
    assert usage.media_input_tokens == line.usage.input_tokens - line.usage.input["TEXT"] > 0
    assert usage.output_tokens == 0
    assert (entry.request_id, entry.model, entry.answered_by) == ("r-1", "gemini-embedding-2", "gemini-embedding-2")
    assert (entry.outcome, entry.final, entry.sums.cost_nanousd) == (Outcome.OK, True, line.cost_nanousd)


async def vectors_of(base_url: str, model: str, text: str, **config: object) -> tuple[float, ...]:
    """What the emulator itself gives for a text."""
    async with client_of(base_url) as client:
        content = types.Content(role="user", parts=[types.Part(text=text)])
        response = await client.models.embed_content(model=model, contents=[content], config=config or None)
    return tuple(response.embeddings[0].values)


@pytest.mark.parametrize(
    ("model", "purpose", "sent"),
    [
        (MODEL, pb.TEXT_PURPOSE_UNSPECIFIED, "dogs"),
        (MODEL, pb.TEXT_PURPOSE_QUERY, "task: search result | query: dogs"),
        (MODEL, pb.TEXT_PURPOSE_DOCUMENT, "title: none | text: dogs"),
        (TEXT_MODEL, pb.TEXT_PURPOSE_QUERY, "dogs"),
        (TEXT_MODEL, pb.TEXT_PURPOSE_DOCUMENT, "dogs"),
    ],
)
async def test_a_text_s_purpose_is_told_as_the_model_wants_it(
    tmp_path: Path, redis_url: str, model: str, purpose: int, sent: str
) -> None:
    async with serving(tmp_path, redis_url) as (served, stub):
        [embedding] = (await stub.Embed(request("dogs", model=model, text_purpose=purpose))).embeddings
        expected = await vectors_of(served.gemini.base_url, model.removeprefix("models/"), sent)
    assert numbers(embedding) == pytest.approx(expected, abs=1e-6)


async def test_vectors_are_as_long_as_the_setting_says_and_of_length_1(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, embedding_dimensions=256) as (_, stub):
        response = await stub.Embed(request("dogs", picture()))
    for embedding in response.embeddings:
        assert list(embedding.tensor.shape) == [256]
        assert isclose(hypot(*numbers(embedding)), 1, abs_tol=1e-5)
    assert response.revision == "gemini-embedding-2-256d"


async def test_embedding_models_are_listed_with_what_they_are(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as (served, _), grpc.aio.insecure_channel(served.address) as channel:
        stub = models_pb2_grpc.ModelServiceStub(channel)
        listed = (await stub.ListModels(models_pb2.ListModelsRequest())).models
        model = (await stub.GetModel(models_pb2.GetModelRequest(name=MODEL))).model
    assert [each.name for each in listed] == [FLASH, *sorted([MODEL, TEXT_MODEL])]
    assert model in listed
    assert model.embedding == models_pb2.EmbeddingInfo(form=models_pb2.EMBEDDING_FORM_SINGLE_VECTOR, dimensions=SIZE)
    assert (model.provider, model.ready, list(model.tasks)) == ("gcp.gemini", True, [])
    assert (model.limits.max_context_tokens, model.limits.max_items) == (8_192, 100)
    assert model.price.input_nanousd_per_million_tokens == 200_000_000
    assert models_pb2.MODALITY_IMAGE in model.modalities
    text_alone = next(each for each in listed if each.name == TEXT_MODEL)
    assert (list(text_alone.modalities), text_alone.limits.max_media) == ([], 0)


@pytest.mark.parametrize(
    ("items", "model", "field", "reason"),
    [
        (["x", "  "], MODEL, "items[1].text", "FIELD_REQUIRED"),
        (["x", b"nothing known"], MODEL, "items[1].media.data", "MEDIA_TYPE_UNSUPPORTED"),
        ([picture(), picture(), picture("WEBP")], MODEL, "items[2].media.data", None),
        (["x", pdf(7)], MODEL, "items[1].media.data", "MEDIA_SIZE"),
        ([film(seconds=81, frames_per_second=1, sound=True)], MODEL, "items[0].media.data", None),
        (["x", picture()], TEXT_MODEL, "items[1].media.data", "MEDIA_TYPE_UNSUPPORTED"),
        (["x", "dogs " * 7_000], TEXT_MODEL, "items[1].text", "PROMPT_TOO_LONG"),
        (["x"] * 101, MODEL, "items", None),
        (["x"], "", "model", None),
    ],
)
async def test_what_cannot_be_embedded_is_named_and_costs_nothing(
    tmp_path: Path, redis_url: str, items: list, model: str, field: str, reason: str | None
) -> None:
    async with serving(tmp_path, redis_url) as (served, stub):
        failure = await failure_of(stub.Embed(request(*items, model=model)))
        assert not await served.entries()
        assert not served.gemini.bill.lines
    assert (failure.code, failure.field) == ("INVALID_ARGUMENT", field)
    assert reason in (None, failure.reason)


@pytest.mark.parametrize(
    ("vectors", "field"),
    [
        ({"dtype": pb.DATA_TYPE_FLOAT16}, "vectors.dtype"),
        ({"dtype": 9}, "vectors.dtype"),
        ({"pool_factor": 2}, "vectors.pool_factor"),
        ({"pool_factor": -1}, "vectors.pool_factor"),
    ],
)
async def test_vectors_that_gemini_does_not_give_are_refused(
    tmp_path: Path, redis_url: str, vectors: dict, field: str
) -> None:
    async with serving(tmp_path, redis_url) as (served, stub):
        failure = await failure_of(stub.Embed(request("x", vectors=vectors)))
        await stub.Embed(request("x", vectors={"dtype": pb.DATA_TYPE_FLOAT32, "pool_factor": 1}))
        await balanced(served)
    assert (failure.code, failure.field) == ("INVALID_ARGUMENT", field)


async def test_streams_are_for_an_embedder(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as (_, stub):
        failure = await failure_of(stub.EmbedStream(iter([pb.EmbedStreamRequest(model=MODEL)])))
    assert (failure.code, failure.reason) == ("UNIMPLEMENTED", "NOT_SERVED_HERE")


async def test_media_by_reference_and_models_that_generate_are_refused(tmp_path: Path, redis_url: str) -> None:
    by_reference = pb.EmbedRequest(model=MODEL, items=[pb.EmbedItem(media={"uri": "https://example.com/a.png"})])
    async with serving(tmp_path, redis_url) as (_, stub):
        assert (await failure_of(stub.Embed(by_reference))).field == "items[0].media.uri"
        failure = await failure_of(stub.Embed(request("x", model=FLASH)))
    assert (failure.code, failure.field) == ("NOT_FOUND", "model")


async def test_what_the_provider_refuses_costs_nothing_and_is_not_asked_again(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, faults(times=None, code=400)) as (served, stub):
        failure = await failure_of(stub.Embed(request("x")))
        await served.settled()
        assert len(await served.entries()) == 1
        assert await served.cost() == served.gemini.bill.total_nanousd == 0
    assert (failure.code, failure.reason, failure.field) == ("INVALID_ARGUMENT", "PROVIDER_REFUSED", "items[0]")


async def test_an_attempt_that_fails_is_made_again(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, faults(times=2, code=503)) as (served, stub):
        response = await stub.Embed(request("dogs"))
        await balanced(served)
        outcomes = [entry.outcome for entry in await served.entries()]
        assert response.usage.cost_nanousd == await served.cost()
    assert outcomes == [Outcome.FAILED, Outcome.FAILED, Outcome.OK]


async def test_a_provider_that_fails_every_attempt_is_told_of(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, faults(times=None, code=500)) as (served, stub):
        failure = await failure_of(stub.Embed(request("dogs")))
        await served.settled()
        assert len(await served.entries()) == 3
        assert await served.cost() == 0
    assert (failure.code, failure.reason) == ("UNAVAILABLE", "PROVIDER_FAILED")


async def test_a_limit_learned_of_the_provider_is_kept(tmp_path: Path, redis_url: str) -> None:
    """The emulator allows 1 request a minute; after its 429 nothing is sent that it would refuse."""
    quotas = {"*": Quota(requests_per_minute=1)}
    config = default_config(projects={"test": Project((TEST_KEY,), quotas)})
    async with serving(tmp_path, redis_url, config) as (served, stub):
        await stub.Embed(request("dogs"))
        failures = [await failure_of(stub.Embed(request("cats"), timeout=5)) for _ in range(2)]
        await balanced(served)
        attempts = await served.entries()
    assert {failure.reason for failure in failures} == {"QUOTA_EXHAUSTED"}
    assert [entry.outcome for entry in attempts] == [Outcome.OK, Outcome.FAILED]


async def test_its_own_limits_let_no_call_too_many_through(tmp_path: Path, redis_url: str) -> None:
    members = {"main": {"limits": {"gemini-embedding-2": LimitSettings(requests_per_minute=3)}}}
    config = default_config(projects={"test": Project((TEST_KEY,), {"*": Quota(requests_per_minute=3)})})
    async with serving(tmp_path, redis_url, config, members=members) as (served, stub):
        calls = [stub.Embed(request(f"dog {number}"), timeout=5) for number in range(6)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await balanced(served)
        assert [entry.outcome for entry in await served.entries()] == [Outcome.OK] * 3
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [error.code() for error in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3


async def test_a_hard_budget_is_not_overspent(tmp_path: Path, redis_url: str) -> None:
    budget = BudgetSettings(tenant="search", day_nanousd=100_000)
    async with serving(tmp_path, redis_url, budgets=(budget,)) as (served, stub):
        tenant = (("chiasm-tenant", "search"),)
        await stub.Embed(request("dogs"), metadata=tenant)
        failure = await failure_of(stub.Embed(request("dogs " * 1_000), metadata=tenant))
        await balanced(served)
        assert [entry.tenant for entry in await served.entries()] == ["search"]
    assert (failure.reason, failure.quota.subject) == ("BUDGET_EXHAUSTED", "tenants/search")


async def test_without_a_key_nothing_is_embedded(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, members={}, until_ready=False) as (_, stub):
        failure = await failure_of(stub.Embed(request("dogs")))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED")


async def test_embeddings_and_answers_are_on_one_bill(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as (served, stub):
        await asyncio.gather(
            *(stub.Embed(request("dogs", picture(), model=MODEL)) for _ in range(8)),
            *(stub.Embed(request("cats", model=TEXT_MODEL)) for _ in range(8)),
            *(served.stub.Generate(question(directed(answer_tokens=5))) for _ in range(8)),
        )
        await balanced(served)
        assert len(await served.entries()) == 24
