"""Doors in a served service: the runtime's, by certificate, and the service's own."""

from pathlib import Path

import grpc
import pytest

from chiasm.v1 import generation_pb2_grpc
from services.gateway.policy import Policy
from services.gateway.tenants.audit import AuditLog
from services.gateway.tenants.door import Door
from services.gateway.tenants.identity import Identities
from services.gateway.tenants.keys import digest
from services.gateway.tenants.limits import TenantLimits
from services.runtime.channel import open_channel
from tests.gateway.tenants.certificates import Authority
from tests.in_process import served
from tests.runtime.echo import EchoService, EchoSettings, ask


async def test_the_runtimes_door_answers_the_gateway_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server.test")
    settings = EchoSettings(
        ready_file=tmp_path / "ready",
        tls_certificate_file=certificate,
        tls_key_file=key,
        tls_client_ca_file=authority.file,
        allowed_callers=("gateway.test",),
    )
    async with served(EchoService(settings), settings, until_ready=False) as service:
        for name, code in (("gateway.test", None), ("intruder.test", grpc.StatusCode.PERMISSION_DENIED)):
            certificate, key = authority.issue(name)
            async with open_channel(
                service.address,
                max_message_bytes=2**20,
                ca_file=authority.file,
                certificate_file=certificate,
                key_file=key,
            ) as channel:
                stub = generation_pb2_grpc.GenerationServiceStub(channel)
                if code is None:
                    assert (await stub.Generate(ask("hello"), timeout=20, wait_for_ready=True)).text == "hello"
                    continue
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Generate(ask("hello"), timeout=20)
                assert caught.value.code() is code


async def test_a_services_own_door(tmp_path: Path) -> None:
    settings = EchoSettings(ready_file=tmp_path / "ready")
    service = EchoService(settings)
    policy = Policy.model_validate({"tenants": [{"name": "a", "api_keys": [digest("chk_a")]}]})
    service.interceptors = (Door(Identities(lambda: policy), TenantLimits(), AuditLog(None)),)
    async with served(service, settings) as running, grpc.aio.insecure_channel(running.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Generate(ask("hello"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert (await stub.Generate(ask("hello"), timeout=20, metadata=(("x-api-key", "chk_a"),))).text == "hello"


def test_callers_need_certificates() -> None:
    with pytest.raises(ValueError, match="tls_client_ca_file"):
        EchoSettings(allowed_callers=("gateway.test",))
