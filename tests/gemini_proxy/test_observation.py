"""What a running process tells of its attempts, batches and caches over OTLP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import batch_pb2, batch_pb2_grpc, generation_pb2_grpc
from tests.gemini.config import TEST_KEY, default_config
from tests.gemini.server import emulator
from tests.gemini_proxy.serving import directed, failure_of, question
from tests.media_files import pdf, picture
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan

ERROR = 2
ACME = (("chiasm-tenant", "acme"),)


@asynccontextmanager
async def told(
    folder: Path, redis_url: str, **settings: object
) -> AsyncIterator[tuple[grpc.aio.Channel, OtlpReceiver]]:
    """A process that serves, and what it tells: all of it once the block has ended."""
    async with OtlpReceiver() as receiver, emulator(default_config()) as gemini:
        environment = {
            "CHIASM_GEMINI_PROXY_API_KEY": TEST_KEY,
            "CHIASM_GEMINI_PROXY_BASE_URL": gemini.base_url,
            "CHIASM_GEMINI_PROXY_REDIS_URL": redis_url,
            "CHIASM_GEMINI_PROXY_SPOOL_FILE": str(folder / "spool.jsonl"),
            "CHIASM_GEMINI_PROXY_BUDGETS": json.dumps([{"tenant": "acme", "day_nanousd": 1, "hard": False}]),
            "CHIASM_OTLP_ENDPOINT": receiver.endpoint,
            **{f"CHIASM_GEMINI_PROXY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        spec = ServiceSpec("gemini_proxy", "services.gemini_proxy", environment=environment)
        # Spans and metrics are flushed when the process ends.
        async with Stack([spec], log_dir=folder) as stack:
            await stack.wait_ready(60)
            async with grpc.aio.insecure_channel(stack.services["gemini_proxy"].address) as channel:
                yield channel, receiver


async def test_each_attempt_has_a_span_under_its_call_and_its_figures(tmp_path: Path, redis_url: str) -> None:
    async with told(tmp_path, redis_url) as (channel, receiver):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        prompt = directed(thinking_tokens=5, answer_tokens=9, fault={"kind": "error", "times": 1})
        answer = await stub.Generate(question(prompt, picture()), metadata=ACME)
        await failure_of(stub.StreamGenerate(question(directed(answer_tokens=9, fault={"kind": "cut"}))))
    spans = receiver.spans
    calls = {span.span_id: span for span in spans if span.name.startswith("chiasm.v1.GenerationService/")}
    failed, answered, cut = sorted(
        (span for span in spans if span.name == "generate_content gemini-3.8-flash"), key=lambda span: span.start_ns
    )
    for span in (failed, answered, cut):
        assert span.parent_id in calls
        assert span.attributes["gen_ai.provider.name"] == "gcp.gemini"
        assert span.attributes["gen_ai.request.model"] == "gemini-3.8-flash"
        assert span.attributes["chiasm.gemini.member"] == "default"
        assert span.attributes["chiasm.attempt_id"]
    assert (failed.status_code, failed.attributes["error.type"]) == (ERROR, "broken")
    assert failed.attributes["chiasm.cost_nanousd"] == 0
    assert (cut.status_code, cut.attributes["error.type"]) == (ERROR, "cut")
    assert cut.attributes["chiasm.cost_nanousd"] > 0
    assert _figures(answered) == {
        "input_tokens": answer.finished.usage.input_tokens,
        "output_tokens": 14,
        "cache_read.input_tokens": 0,
        "reasoning.output_tokens": 5,
    }
    assert answered.attributes["chiasm.cost_nanousd"] == answer.finished.usage.cost_nanousd
    assert answered.attributes["chiasm.tenant"] == "acme"
    assert answered.attributes["chiasm.gemini.budget_day.exceeded"] is True
    assert "chiasm.gemini.budget_day.exceeded" not in cut.attributes
    assert receiver.metric_names >= {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.server.time_to_first_token",
        "chiasm.gemini.cost",
        "chiasm.gemini.wait",
        "chiasm.gemini.estimate.error",
        "chiasm.gemini.budget.exceeded",
        "chiasm.gemini.books.shared",
    }


async def test_a_batch_has_a_span_of_its_sending_and_one_of_its_own(tmp_path: Path, redis_url: str) -> None:
    async with told(tmp_path, redis_url, batch_poll_s=0.05) as (channel, receiver):
        stub = batch_pb2_grpc.BatchServiceStub(channel)
        requests = [question("dogs"), question(directed(fault={"kind": "error", "code": 500}))]
        batch = (await stub.StartBatch(batch_pb2.StartBatchRequest(requests=requests), metadata=ACME)).batch
        async with asyncio.timeout(30):
            while not batch.HasField("end_time"):  # a batch rings no event
                await asyncio.sleep(0.02)
                batch = (await stub.GetBatch(batch_pb2.GetBatchRequest(name=batch.name), metadata=ACME)).batch
    calls = {span.span_id for span in receiver.spans if span.name == "chiasm.v1.BatchService/StartBatch"}
    (sent,) = [span for span in receiver.spans if span.name == "batch_generate_content gemini-3.8-flash"]
    (whole,) = [span for span in receiver.spans if span.name == "batch gemini-3.8-flash"]
    assert sent.parent_id in calls
    assert not whole.parent_id
    assert whole.start_ns <= sent.start_ns < sent.end_ns <= whole.end_ns
    told_of = {name: value for name, value in whole.attributes.items() if name.startswith("chiasm.")}
    assert told_of == {
        "chiasm.batch_id": batch.name.removeprefix("batches/"),
        "chiasm.tenant": "acme",
        "chiasm.gemini.member": "default",
        "chiasm.gemini.batch.requests": 2,
        "chiasm.gemini.batch.succeeded": 1,
        "chiasm.cost_nanousd": batch.usage.cost_nanousd,
    }
    assert receiver.metric_names >= {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "chiasm.gemini.cost",
        "chiasm.gemini.batches.open",
        "chiasm.gemini.budget.exceeded",
    }


async def test_a_cache_that_is_paid_for_has_a_span(tmp_path: Path, redis_url: str) -> None:
    async with told(tmp_path, redis_url, caching="true", cache_ttl_s=3_600) as (channel, receiver):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        asking = question("What is it about?", pdf(pages=100))
        for _ in range(3):
            await stub.Generate(asking, metadata=ACME)
    (made,) = [span for span in receiver.spans if span.name == "create_cached_content gemini-3.8-flash"]
    assert made.attributes["chiasm.tenant"] == "acme"
    assert made.attributes["chiasm.cost_nanousd"] > 0
    assert _figures(made) == {"input_tokens": 100 * 560}


def _figures(span: ReceivedSpan) -> dict[str, int]:
    usage = "gen_ai.usage."
    return {name.removeprefix(usage): value for name, value in span.attributes.items() if name.startswith(usage)}
