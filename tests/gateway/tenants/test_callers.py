"""A server that answers the gateway alone."""

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.callers import AllowedCallers
from tests.gateway.tenants.certificates import Authority
from tests.gateway.tenants.door_server import NobodyInParticular, behind, channel, who
from tests.runtime.test_boundary import details


async def test_only_the_callers_named_are_answered(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    allowed = AllowedCallers(("gateway.house.test", "spiffe://house.test/gateway"))
    async with behind(allowed, servicer=NobodyInParticular(), authority=authority) as address:
        for name in ("gateway.house.test", "spiffe://house.test/gateway"):
            async with channel(address, authority, [name]) as opened:
                assert await who(opened) == "hello"
        async with channel(address, authority, ["spiffe://house.test/gateway-2"]) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await who(opened)
            health = await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert details(caught.value)["ErrorInfo"].reason == "PERMISSION_DENIED"
    assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_names_everybody_is() -> None:
    async with behind(AllowedCallers(()), servicer=NobodyInParticular()) as address, channel(address) as opened:
        assert await who(opened) == "hello"


async def test_without_certificates_nobody_is() -> None:
    allowed = AllowedCallers(("gateway.house.test",))
    async with behind(allowed, servicer=NobodyInParticular()) as address, channel(address) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who(opened)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
