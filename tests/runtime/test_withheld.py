import logging
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chiasm.v1 import generation_pb2_grpc
from tests.in_process import served
from tests.runtime.echo import EchoService, EchoSettings, ask

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class KeylessService(EchoService):
    """Starts, and cannot be ready before an operator acts."""

    async def start(self) -> None:
        self.readiness.withhold("no key is configured")


async def test_a_service_that_withholds_itself_is_alive_answers_and_is_not_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = EchoSettings(ready_file=tmp_path / "ready")
    caplog.set_level(logging.INFO)
    async with (
        served(KeylessService(settings), settings, until_ready=False) as process,
        grpc.aio.insecure_channel(process.address) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        # Its own handlers say what is missing.
        answer = await stub.Generate(ask("hello"), wait_for_ready=True)
        assert answer.text == "hello"
        health = health_pb2_grpc.HealthStub(channel)
        for name, status in (("", SERVING), ("chiasm.v1.GenerationService", NOT_SERVING)):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == status
    assert await process.exit_code == 0
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("WARNING", "not ready: no key is configured") in said
    assert ("INFO", "ready") not in said
