"""gemini_proxy as processes that share a Valkey, before an emulated Gemini in a process of its own."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import redis.asyncio
from pydantic import TypeAdapter

from chiasm.command.service_process import ServiceProcess, ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2_grpc, usage_pb2_grpc
from services.gemini_proxy.accounts.ledger import Ledger
from services.gemini_proxy.accounts.redis_books import connect
from services.gemini_proxy.accounts.settings import BooksSettings
from tests.gemini.config import TEST_KEY, Config
from tests.gemini_proxy.emulated_prices import prices_toml
from tests.valkey import valkey_server

START_S = 120.0


@dataclass(frozen=True)
class Emulated:
    """The emulator's process, as its judge's pages show it."""

    base_url: str

    async def page(self, name: str) -> bytes:
        """`_bill`, `_log`, `_quotas`; `_idle` answers once no call is under way."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.base_url}/{name}") as response:
            response.raise_for_status()
            return await response.read()

    async def bill(self) -> dict:
        return json.loads(await self.page("_bill"))


@dataclass(frozen=True)
class GeminiStack:
    """What runs."""

    gemini: Emulated
    stack: Stack
    valkey: redis.asyncio.Redis

    @property
    def proxies(self) -> tuple[ServiceProcess, ...]:
        return tuple(self.stack.services.values())

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.valkey, BooksSettings())


@asynccontextmanager
async def running(config: Config, *, replicas: int, settings: Mapping[str, object]) -> AsyncIterator[GeminiStack]:
    """`replicas` proxies with one Vertex key and `settings`, all ready; everything ended and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="chiasm-test-") as name, valkey_server(save="") as valkey:
        folder = Path(name)
        async with _emulator(config, folder) as gemini:
            (folder / "prices.toml").write_text(prices_toml(config.models))
            specs = [_spec(number, folder, gemini, valkey.connection_url, settings) for number in range(replicas)]
            client = connect(valkey.connection_url, timeout_s=5)
            try:
                async with Stack(specs, log_dir=folder / "logs") as stack:
                    await stack.wait_ready(START_S)
                    yield GeminiStack(gemini, stack, client)
            finally:
                await client.aclose()


def _spec(number: int, folder: Path, gemini: Emulated, redis_url: str, settings: Mapping[str, object]) -> ServiceSpec:
    given = dict(settings)
    member = {"name": "main", "api_key": TEST_KEY, "vertex": True, "base_url": gemini.base_url}
    member["limits"] = given.pop("limits", {})
    values = {
        "members": [member],
        "redis_url": redis_url,
        "prices_file": str(folder / "prices.toml"),
        "spool_file": str(folder / f"spool-{number}.jsonl"),
        "books_timeout_s": 10,  # a busy machine is no outage
        **given,
    }
    environment = {
        f"CHIASM_GEMINI_PROXY_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }
    return ServiceSpec(f"proxy{number}", "services.gemini_proxy", service="gemini_proxy", environment=environment)


@asynccontextmanager
async def _emulator(config: Config, folder: Path) -> AsyncIterator[Emulated]:
    config_file, ready_file = folder / "emulator.json", folder / "emulator-ready"
    config_file.write_bytes(TypeAdapter(Config).dump_json(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.gemini", "--config", str(config_file), "--ready-file", str(ready_file)
    )
    try:
        async with asyncio.timeout(START_S):
            while not (address := await asyncio.to_thread(_text, ready_file)):  # noqa: ASYNC110 - a file rings no event
                await asyncio.sleep(0.02)
        yield Emulated(address)
    finally:
        process.terminate()
        await process.wait()


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@asynccontextmanager
async def connected(
    address: str,
) -> AsyncIterator[tuple[generation_pb2_grpc.GenerationServiceStub, usage_pb2_grpc.UsageServiceStub]]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel), usage_pb2_grpc.UsageServiceStub(channel)
