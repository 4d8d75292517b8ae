"""Tenants at a gateway process: who may call, what each sees, and what the model server is told."""

from pathlib import Path

import pytest

from chiasm import AsyncClient, NotFound, PermissionDenied, Unauthenticated
from services.gateway.config import GatewaySettings
from services.gateway.service import GatewayService
from services.gateway.tenants.audit import Entry
from services.gateway.tenants.keys import digest
from tests.client import scripted
from tests.client.conftest import run_command
from tests.gateway.test_gateway import PNG, gateway
from tests.gemini_proxy.usage_server import serving_usage

KEYS = {name: f"chk_{name}" for name in ("acme", "zoo", "house")}
POLICY = f"""\
tenants:
  - name: acme
    api_keys: [{digest(KEYS["acme"])}]
  - name: zoo
    api_keys: [{digest(KEYS["zoo"])}]
    models: [models/other]
    requests_per_minute: 1000
  - name: house
    api_keys: [{digest(KEYS["house"])}]
    may_act_for: ["*"]
"""


async def test_each_tenant_has_its_own(tmp_path: Path) -> None:
    policy, audit = tmp_path / "policy.yaml", tmp_path / "audit.jsonl"
    policy.write_text(POLICY)
    settings = {
        "CHIASM_GATEWAY_POLICY_FILE": str(policy),
        "CHIASM_GATEWAY_AUDIT_FILE": str(audit),
        "CHIASM_GATEWAY_MEDIA_STORE": str(tmp_path / "media"),
    }
    async with scripted.serving() as server, gateway(tmp_path, server.address, **settings) as nobody:
        with pytest.raises(Unauthenticated):
            await nobody.ask(PNG, "how many?")
        clients = {name: AsyncClient(nobody.address, api_key=key, timeout_s=20) for name, key in KEYS.items()}
        assert (await clients["acme"].ask(PNG, "how many?")).text == "two circles"
        assert {metadata["chiasm-tenant"] for metadata in server.metadata if "chiasm-tenant" in metadata} == {"acme"}
        with pytest.raises(PermissionDenied):
            await clients["zoo"].ask(PNG, "how many?")
        assert [model.name for model in await clients["acme"].models()] == ["models/tiny"]
        assert await clients["zoo"].models() == []
        assert (await clients["acme"].model("models/tiny")).name == "models/tiny"
        with pytest.raises(NotFound):
            await clients["zoo"].model("models/tiny")
        stored = await clients["acme"].upload(PNG)
        with pytest.raises(NotFound, match="upload the file"):
            await clients["house"].ask(stored.name, "how many?")
        asked = await run_command(
            "ask", stored.name, "how many?", "--address", nobody.address, CHIASM_API_KEY=KEYS["acme"]
        )
        assert (asked.code, asked.out) == (0, "two circles\n")
        for client in clients.values():
            await client.close()
    told = audit.read_text()
    assert '"tenant": "acme"' in told
    assert "UNAUTHENTICATED" in told
    assert not any(key in told for key in KEYS.values())


async def test_a_tenant_sees_what_it_used_and_no_more(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    async with serving_usage() as usage:
        settings = {"CHIASM_GATEWAY_POLICY_FILE": str(policy), "CHIASM_GATEWAY_USAGE_TARGET": usage.address}
        async with gateway(tmp_path, "127.0.0.1:1", ready=False, **settings) as nobody:
            async with AsyncClient(nobody.address, api_key=KEYS["acme"]) as acme:
                assert {budget.tenant for budget in await acme.budgets()} == {"acme"}
                with pytest.raises(PermissionDenied):
                    await acme.budgets("zoo")
            async with AsyncClient(nobody.address, api_key=KEYS["house"]) as house:
                assert {budget.tenant for budget in await house.budgets()} == {"acme", "zoo"}


async def test_the_record_is_closed_whatever_else_fails_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = tmp_path / "audit.jsonl"
    service = GatewayService(GatewaySettings(audit_file=audit, media_store=str(tmp_path / "media")))

    async def fail() -> None:
        raise OSError("the channel broke")

    monkeypatch.setattr(service._usage, "close", fail)
    await service.start()
    record = service._tenants._audit
    with record.call(Entry("service/Method")):
        pass
    with pytest.raises(OSError, match="the channel broke"):
        await service.stop()
    assert record._writer._thread is None
    assert '"status": "OK"' in audit.read_text()
