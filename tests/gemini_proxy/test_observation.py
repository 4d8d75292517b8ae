"""What a running process tells of its attempts over OTLP."""

import json
from pathlib import Path

import grpc

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2_grpc
from tests.gemini.config import TEST_KEY, default_config
from tests.gemini.server import emulator
from tests.gemini_proxy.media_files import picture
from tests.gemini_proxy.serving import directed, failure_of, question
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan

ERROR = 2


async def test_each_attempt_has_a_span_under_its_call_and_its_figures(tmp_path: Path, redis_url: str) -> None:
    async with OtlpReceiver() as receiver, emulator(default_config()) as gemini:
        environment = {
            "CHIASM_GEMINI_PROXY_API_KEY": TEST_KEY,
            "CHIASM_GEMINI_PROXY_BASE_URL": gemini.base_url,
            "CHIASM_GEMINI_PROXY_REDIS_URL": redis_url,
            "CHIASM_GEMINI_PROXY_SPOOL_FILE": str(tmp_path / "spool.jsonl"),
            "CHIASM_GEMINI_PROXY_BUDGETS": json.dumps([{"tenant": "acme", "day_nanousd": 1, "hard": False}]),
            "CHIASM_OTLP_ENDPOINT": receiver.endpoint,
        }
        spec = ServiceSpec("gemini_proxy", "services.gemini_proxy", environment=environment)
        async with Stack([spec], log_dir=tmp_path) as stack:
            await stack.wait_ready(60)
            async with grpc.aio.insecure_channel(stack.services["gemini_proxy"].address) as channel:
                stub = generation_pb2_grpc.GenerationServiceStub(channel)
                prompt = directed(thinking_tokens=5, answer_tokens=9, fault={"kind": "error", "times": 1})
                answer = await stub.Generate(question(prompt, picture()), metadata=(("chiasm-tenant", "acme"),))
                await failure_of(stub.StreamGenerate(question(directed(answer_tokens=9, fault={"kind": "cut"}))))
        # Spans and metrics are flushed when the process ends.
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


def _figures(span: ReceivedSpan) -> dict[str, int]:
    usage = "gen_ai.usage."
    return {name.removeprefix(usage): value for name, value in span.attributes.items() if name.startswith(usage)}
