import asyncio
import json
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chiasm.v1 import generation_pb2 as pb
from chiasm.v1 import models_pb2, models_pb2_grpc
from services.gemini_proxy import convert
from services.gemini_proxy.media_facts import MediaFacts
from tests.gemini_proxy.serving import FLASH, directed, failure_of, proxy, question, text_and_end
from tests.media_files import picture

STOP, MAX_TOKENS, BLOCKED = pb.FINISH_REASON_STOP, pb.FINISH_REASON_MAX_TOKENS, pb.FINISH_REASON_BLOCKED
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_an_answer_tells_what_it_used_and_cost_and_how_it_came_to_be(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        prompt = directed("How many?", answer="three dogs", thinking_tokens=7)
        request = question(prompt)
        request.request_id = "r-1"
        answer = await served.stub.Generate(request)
    tokens = -(-len(prompt) // 4)
    assert (answer.text, answer.model, answer.request_id) == ("three dogs", FLASH, "r-1")
    assert (answer.finished.finish_reason, answer.finished.finish_detail) == (STOP, "STOP")
    usage = answer.finished.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_output_tokens) == (tokens, 10, 7)
    assert (usage.media_input_tokens, usage.cached_input_tokens) == (0, 0)
    assert usage.cost_nanousd == tokens * 750 + 10 * 3_750
    [attempt] = answer.finished.route.attempts
    assert (attempt.model, attempt.revision, attempt.status) == (FLASH, "gemini-3.8-flash", "OK")
    assert attempt.usage == usage
    assert attempt.time_to_first_token.ToNanoseconds() > 0
    assert attempt.duration.ToTimedelta() <= answer.finished.route.duration.ToTimedelta()


async def test_a_stream_begins_goes_on_and_ends(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        call = served.stub.StreamGenerate(question(directed(answer_tokens=30, chunks=5)))
        events = [event async for event in call]
    assert [event.WhichOneof("event") for event in events] == ["started", *["delta"] * 5, "finished"]
    assert (events[0].started.model, events[0].started.attempt) == (FLASH, 1)
    assert events[0].started.request_id
    assert sum(len(event.delta.text) for event in events) == 120
    assert events[-1].finished.usage.output_tokens == 30
    assert events[-1].finished.route.HasField("time_to_first_token")


@pytest.mark.filterwarnings("ignore:NEW_NEXT_YEAR is not a valid FinishReason")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("directive", "cap", "reason", "detail"),
    [
        ({"finish": "SAFETY"}, 100, BLOCKED, "SAFETY"),
        ({"finish": "RECITATION", "answer": "To be or"}, 100, BLOCKED, "RECITATION"),
        ({"finish": "PROHIBITED_CONTENT"}, 100, BLOCKED, "PROHIBITED_CONTENT"),
        ({"block": "PROHIBITED_CONTENT"}, 100, BLOCKED, "PROMPT_PROHIBITED_CONTENT"),
        ({"block": "OTHER"}, 100, BLOCKED, "PROMPT_OTHER"),
        ({"answer_tokens": 30}, 20, MAX_TOKENS, "MAX_TOKENS"),
        ({"finish": "OTHER"}, 100, pb.FINISH_REASON_OTHER, "OTHER"),
        ({"finish": "MALFORMED_RESPONSE", "answer": "x"}, 100, pb.FINISH_REASON_OTHER, "MALFORMED_RESPONSE"),
        ({"finish": "NEW_NEXT_YEAR", "answer": "x"}, 100, pb.FINISH_REASON_OTHER, "NEW_NEXT_YEAR"),
    ],
)
async def test_every_end_of_the_providers_is_a_finish_and_no_error(
    tmp_path: Path, redis_url: str, directive: dict, cap: int, reason: int, detail: str, streamed: bool
) -> None:
    request = question(directed("tell me", **directive), max_tokens=cap)
    async with proxy(tmp_path, redis_url) as served:
        if streamed:
            text, end = await text_and_end(served.stub.StreamGenerate(request))
        else:
            answer = await served.stub.Generate(request)
            text, end = answer.text, answer.finished
        assert await served.cost() == served.gemini.bill.total_nanousd == end.usage.cost_nanousd > 0
    assert (end.finish_reason, end.finish_detail) == (reason, detail)
    assert text == directive.get("answer", text)
    assert bool(text) == ("answer" in directive or "answer_tokens" in directive)
    assert end.route.HasField("time_to_first_token") == bool(text)


async def test_reasoning_that_ate_the_cap_is_told_with_what_helps(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        request = question(directed(fault={"kind": "thinking_only"}), max_tokens=50)
        text, end = await text_and_end(served.stub.StreamGenerate(request))
    assert (text, end.finish_reason) == ("", MAX_TOKENS)
    assert "reasoning took 50 of 50" in end.finish_detail
    assert "config.max_tokens" in end.finish_detail
    assert (end.usage.output_tokens, end.usage.reasoning_output_tokens) == (50, 50)
    assert not end.route.HasField("time_to_first_token"), "there was no delta"


@pytest.mark.parametrize(
    ("level", "tokens"),
    [(pb.THINKING_LEVEL_UNSPECIFIED, 0), (pb.THINKING_LEVEL_MINIMAL, 16), (pb.THINKING_LEVEL_HIGH, 256)],
)
async def test_the_thinking_level_is_the_nearest_that_the_model_has(
    tmp_path: Path, redis_url: str, level: int, tokens: int
) -> None:
    async with proxy(tmp_path, redis_url) as served:
        answer = await served.stub.Generate(question("think", thinking_level=level))
    assert answer.finished.usage.reasoning_output_tokens == tokens


async def test_instructions_and_earlier_turns_are_read(tmp_path: Path, redis_url: str) -> None:
    said = [(pb.ROLE_SYSTEM, "Be brief."), (pb.ROLE_USER, "A dog?"), (pb.ROLE_MODEL, "Yes."), (pb.ROLE_USER, "Sure?")]
    messages = [pb.Message(role=role, parts=[pb.Part(text=text)]) for role, text in said]
    async with proxy(tmp_path, redis_url) as served:
        answer = await served.stub.Generate(pb.GenerateRequest(model=FLASH, messages=messages))
    assert answer.text == "You said: Sure?"
    assert answer.finished.usage.input_tokens == sum(-(-len(text) // 4) for _, text in said)


SCHEMA = {"type": "object", "properties": {"dogs": {"type": "integer"}}, "required": ["dogs"]}


async def test_an_answer_to_a_schema_comes_whole(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        prompt = directed(answer='{"dogs": 3}', chunks=4)
        call = served.stub.StreamGenerate(question(prompt, json_schema=json.dumps(SCHEMA)))
        events = [event async for event in call]
    assert [event.WhichOneof("event") for event in events] == ["started", "delta", "finished"]
    assert json.loads(events[1].delta.text) == {"dogs": 3}


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_to_a_schema_comes_without_a_fence(tmp_path: Path, redis_url: str, streamed: bool) -> None:
    request = question(directed(answer='```json\n{"dogs": 3}\n```', chunks=4), json_schema=json.dumps(SCHEMA))
    async with proxy(tmp_path, redis_url) as served:
        if streamed:
            text, _ = await text_and_end(served.stub.StreamGenerate(request))
        else:
            text = (await served.stub.Generate(request)).text
    assert text == '{"dogs": 3}'


@pytest.mark.parametrize("seconds", [0.4, 30])
async def test_the_time_that_media_take_to_be_read_is_the_calls(
    tmp_path: Path, redis_url: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts_of = convert.facts_of

    async def slowly(*args: object, **others: object) -> MediaFacts:
        await asyncio.sleep(seconds)
        return await facts_of(*args, **others)

    monkeypatch.setattr(convert, "facts_of", slowly)
    async with proxy(tmp_path, redis_url, default_timeout_s=0.7) as served:
        began = time.monotonic()
        failure = await failure_of(served.stub.Generate(question(directed(first_token_s=0.5), picture())))
        assert time.monotonic() - began < 20
    assert failure.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("malformed", [{"fault": {"kind": "malformed_json"}}, {"answer": '{"dogs": "three"}'}])
async def test_an_answer_against_its_schema_is_asked_for_again_and_given_up(
    tmp_path: Path, redis_url: str, malformed: dict, streamed: bool
) -> None:
    async with proxy(tmp_path, redis_url) as served:
        call = served.stub.StreamGenerate if streamed else served.stub.Generate
        failure = await failure_of(call(question(directed(**malformed), json_schema=json.dumps(SCHEMA))))
        assert len(served.gemini.bill.lines) == 3
        assert await served.cost() == served.gemini.bill.total_nanousd
    assert (failure.code, failure.reason, failure.text) == ("ABORTED", "ANSWER_MALFORMED", "")


async def test_an_answer_against_its_schema_is_paid_for_and_the_next_one_delivered(
    tmp_path: Path, redis_url: str
) -> None:
    async with proxy(tmp_path, redis_url) as served:
        prompt = directed(answer='{"dogs": 3}', fault={"kind": "malformed_json", "times": 1})
        text, end = await text_and_end(served.stub.StreamGenerate(question(prompt, json_schema=json.dumps(SCHEMA))))
        assert end.usage.cost_nanousd == served.gemini.bill.total_nanousd == await served.cost()
    assert json.loads(text) == {"dogs": 3}
    assert [attempt.status for attempt in end.route.attempts] == ["ABORTED", "OK"]


async def test_what_cannot_be_asked_is_refused_and_costs_nothing(tmp_path: Path, redis_url: str) -> None:
    unknown, nobody = question("x"), question("x", json_schema='{"type": 3}')
    unknown.model = "models/gemini-1.0"
    last = question("x")
    last.messages[0].role = pb.ROLE_MODEL
    async with proxy(tmp_path, redis_url) as served:
        for request, code, field in (
            (unknown, "NOT_FOUND", "model"),
            (nobody, "INVALID_ARGUMENT", "config.json_schema"),
            (last, "INVALID_ARGUMENT", "messages[0].role"),
            (question("x", max_tokens=70_000), "INVALID_ARGUMENT", "config.max_tokens"),
            (question("x", task=pb.TASK_SEGMENT), "INVALID_ARGUMENT", "task"),
            (question("", b"no picture", task=pb.TASK_CAPTION), "INVALID_ARGUMENT", "messages[0].parts[0].media.data"),
        ):
            failure = await failure_of(served.stub.Generate(request))
            assert (failure.code, failure.field) == (code, field)
        assert not served.gemini.quotas.used.get("test", {}).get("gemini-3.8-flash")
        assert await served.entries() == []


async def test_other_names_for_a_model_and_none_at_all_are_served(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, aliases={"flash": "gemini-3.8-flash"}) as served:
        for name in ("models/flash", ""):
            request = question("x")
            request.model = name
            assert (await served.stub.Generate(request)).model == FLASH


async def test_without_a_key_the_service_lives_and_says_why_it_is_not_ready(tmp_path: Path, redis_url: str) -> None:
    async with (
        proxy(tmp_path, redis_url, api_key=None, until_ready=False) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        models = models_pb2_grpc.ModelServiceStub(channel)
        listed = await _listed(models)
        health = health_pb2_grpc.HealthStub(channel)
        states = {
            name: (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("", *served.service.names)
        }
        for call in (served.stub.Generate, served.stub.StreamGenerate):
            failure = await failure_of(call(question("x")))
            assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED")
            assert "CHIASM_GEMINI_PROXY_API_KEY" in failure.message
    assert states.pop("") == SERVING
    assert set(states.values()) == {NOT_SERVING}
    assert set(states) >= {"chiasm.v1.GenerationService", "chiasm.v1.ModelService", "chiasm.v1.UsageService"}
    assert FLASH in {model.name for model in listed}
    assert not any(model.ready for model in listed)


async def _listed(models: models_pb2_grpc.ModelServiceStub) -> list[models_pb2.Model]:
    """Once the service has started: before, calls are refused."""
    async with asyncio.timeout(30):
        while True:
            try:
                return list((await models.ListModels(models_pb2.ListModelsRequest())).models)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                await asyncio.sleep(0.01)


async def test_a_model_is_listed_with_its_price_and_load(tmp_path: Path, redis_url: str) -> None:
    async with (
        proxy(tmp_path, redis_url) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        models = models_pb2_grpc.ModelServiceStub(channel)
        call = served.stub.StreamGenerate(question(directed(answer_tokens=8, chunks=2, chunk_s=0.3)))
        events = aiter(call)
        await anext(events)
        model = (await models.GetModel(models_pb2.GetModelRequest(name=FLASH))).model
        assert [event.WhichOneof("event") async for event in events][-1] == "finished"
    assert model.ready
    assert model.load.running == 1
    assert (model.price.input_nanousd_per_million_tokens, model.price.output_nanousd_per_million_tokens) == (
        750_000_000,
        3_750_000_000,
    )
