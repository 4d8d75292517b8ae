import pytest

from chiasm.command.stack import Stack
from tests.integration.trace import trace_of_a_question
from tests.otlp_receiver import OtlpReceiver

METRICS = {"rpc.server.call.duration", "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"}
METRICS_S = 40.0  # sent every 15 s

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_trace_arrives_whole_from_the_command_to_the_engine(stack: Stack, receiver: OtlpReceiver) -> None:
    command, gateway, server, engine = await trace_of_a_question(stack, receiver)
    assert command.start_ns <= gateway.start_ns <= server.start_ns <= engine.start_ns
    assert engine.end_ns <= command.end_ns
    assert gateway.attributes["chiasm.request_id"] == server.attributes["chiasm.request_id"]
    assert engine.attributes["gen_ai.provider.name"] == "vllm"
    assert engine.attributes["gen_ai.usage.output_tokens"] >= 1
    assert engine.attributes["chiasm.engine.prefill_s"] > 0
    await receiver.wait_for(lambda _: receiver.metric_names >= METRICS, METRICS_S)
    assert not any("how many" in str(span.attributes) for span in (command, gateway, server, engine))
