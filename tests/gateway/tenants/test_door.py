"""Who passes the door, over real sockets."""

import json
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chiasm.v1 import generation_pb2, generation_pb2_grpc
from services.gateway.policy import Policy
from services.gateway.tenants.audit import AuditLog
from services.gateway.tenants.door import Door
from services.gateway.tenants.identity import Identities
from services.gateway.tenants.jwks import FileSource, Jwks
from services.gateway.tenants.keys import digest
from services.gateway.tenants.limits import TenantLimits
from services.gateway.tenants.tokens import Tokens
from tests.gateway.tenants.certificates import Authority
from tests.gateway.tenants.door_server import behind, channel, who
from tests.gateway.tenants.test_tokens import RULES, Issuer
from tests.runtime.test_boundary import details

KEY = "chk_search-key-of-a-test"
POLICY = Policy.model_validate(
    {
        "tenants": [
            {"name": "search", "api_keys": [digest(KEY)], "requests_per_minute": 3},
            {"name": "mesh", "certificate_names": ["spiffe://house.test/*"], "api_keys": [digest("chk_mesh")]},
            {"name": "batch", "jwt_subjects": ["batch-*"]},
            {"name": "portal", "api_keys": [digest("chk_portal")], "may_act_for": ["search", "guest-*"]},
        ]
    }
)


def door(policy: Policy = POLICY, tokens: Tokens | None = None, audit: Path | None = None) -> tuple[Door, AuditLog]:
    log = AuditLog(audit)
    log.open()
    return Door(Identities(lambda: policy, tokens), TenantLimits(), log), log


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def refused(opened: grpc.aio.Channel, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await who(opened, *metadata)
    return caught.value


async def test_without_tenants_in_the_policy_everybody_is_who_they_say() -> None:
    async with behind(door(Policy())[0]) as address, channel(address) as opened:
        assert await who(opened) == "default by default via trust"
        assert await who(opened, ("chiasm-tenant", "a")) == "a by a via trust"


async def test_api_keys() -> None:
    async with behind(door()[0]) as address, channel(address) as opened:
        assert await who(opened, ("authorization", f"Bearer {KEY}")) == "search by search via key"
        assert await who(opened, ("x-api-key", KEY)) == "search by search via key"


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer chk_wrong"),),
        (("authorization", "Bearer "),),
        (("authorization", f"Basic {KEY}"),),
        (("authorization", KEY),),
        (("x-api-key", ""),),
        (("x-api-key", KEY), ("x-api-key", "chk_portal")),
        (("x-api-key", KEY), ("authorization", "Bearer chk_portal")),
        (("authorization", "Bearer a.b.c"),),
        (("chiasm-tenant", "search"),),
    ],
    ids=str,
)
async def test_who_proves_nothing_is_refused(metadata: tuple[tuple[str, str], ...]) -> None:
    async with behind(door()[0]) as address, channel(address) as opened:
        error = await refused(opened, *metadata)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert details(error)["ErrorInfo"].reason == "UNAUTHENTICATED"
    assert "chk_" not in error.details()


async def test_health_needs_no_proof() -> None:
    async with behind(door()[0]) as address, channel(address) as opened:
        answer = await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_streams_pass_the_door_too() -> None:
    async with behind(door()[0]) as address, channel(address) as opened:
        stub = generation_pb2_grpc.GenerationServiceStub(opened)
        metadata = (("x-api-key", KEY),)
        told = [
            event.delta.text async for event in stub.StreamGenerate(generation_pb2.GenerateRequest(), metadata=metadata)
        ]
        assert told == ["search"]
        with pytest.raises(grpc.aio.AioRpcError):
            [event async for event in stub.StreamGenerate(generation_pb2.GenerateRequest())]


async def test_tokens(tmp_path: Path) -> None:
    issuer = Issuer()
    (tmp_path / "jwks").write_bytes(issuer.document)
    tokens = Tokens(RULES, Jwks(FileSource(tmp_path / "jwks")))
    async with behind(door(tokens=tokens)[0]) as address, channel(address) as opened:
        shown = issuer.token(sub="batch-7")
        assert await who(opened, ("authorization", f"Bearer {shown}")) == "batch by batch via token"
        error = await refused(opened, ("authorization", f"Bearer {issuer.token(sub='nobody')}"))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_acting_for_another_wants_the_right_to() -> None:
    portal = ("x-api-key", "chk_portal")
    async with behind(door()[0]) as address, channel(address) as opened:
        assert await who(opened, portal, ("chiasm-tenant", "portal")) == "portal by portal via key"
        assert await who(opened, portal, ("chiasm-tenant", "search")) == "search by portal via key"
        assert await who(opened, portal, ("chiasm-tenant", "guest-7")) == "guest-7 by portal via key"
        denied = await refused(opened, portal, ("chiasm-tenant", "batch"))
        stolen = await refused(opened, ("x-api-key", KEY), ("chiasm-tenant", "portal"))
        twice = await refused(opened, portal, ("chiasm-tenant", "search"), ("chiasm-tenant", "batch"))
    assert denied.code() is stolen.code() is grpc.StatusCode.PERMISSION_DENIED
    assert details(denied)["ErrorInfo"].reason == "PERMISSION_DENIED"
    assert twice.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_certificate_comes_first(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with behind(door()[0], authority=authority) as address:
        async with channel(address, authority, ["spiffe://house.test/captions"]) as opened:
            assert await who(opened) == "mesh by mesh via certificate"
            assert await who(opened, ("x-api-key", KEY)) == "mesh by mesh via certificate"
        async with channel(address, authority, ["spiffe://other.test/captions"]) as opened:
            assert await who(opened, ("x-api-key", KEY)) == "search by search via key"
            assert (await refused(opened)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_who_acts_for_a_tenant_spends_its_limits() -> None:
    portal = (("x-api-key", "chk_portal"), ("chiasm-tenant", "search"))
    async with behind(door()[0]) as address, channel(address) as opened:
        for _ in range(3):
            await who(opened, *portal)
        error = await refused(opened, ("x-api-key", KEY))
        assert await who(opened, ("x-api-key", "chk_portal")) == "portal by portal via key"
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(error)["QuotaFailure"].violations[0].quota_id == "requests_per_minute"
    assert 0 < details(error)["RetryInfo"].retry_delay.ToTimedelta().total_seconds() <= 61


async def test_every_call_is_on_record_without_what_it_showed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    way, log = door(audit=tmp_path / "audit")
    async with behind(way, authority=authority) as address, channel(address, authority, ["client.test"]) as opened:
        await who(opened, ("x-api-key", KEY), model="models/tiny")
        await refused(opened, ("x-api-key", "chk_wrong"))
        await refused(opened, ("x-api-key", KEY), ("chiasm-tenant", "batch"))
    log.close()
    good, unknown, denied = lines(tmp_path / "audit")
    assert good.pop("time").endswith("+00:00")
    assert good == {
        "method": "chiasm.v1.GenerationService/Generate",
        "status": "OK",
        "tenant": "search",
        "caller": "search",
        "via": "key",
        "certificate": ["client.test", "127.0.0.1"],
        "model": "models/tiny",
        "request_id": "request-1",
        "cost_nanousd": 1250,
    }
    assert (unknown["status"], unknown["reason"], "tenant" in unknown) == ("UNAUTHENTICATED", "UNAUTHENTICATED", False)
    assert (denied["status"], denied["reason"]) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    assert "chk_" not in (tmp_path / "audit").read_text()
    assert (tmp_path / "audit").stat().st_mode & 0o077 == 0
