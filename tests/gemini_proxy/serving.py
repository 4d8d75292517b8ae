"""gemini_proxy in the test's own process, before an emulated Gemini and a real Valkey."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import SecretStr

from chiasm import AsyncClient
from chiasm.v1 import generation_pb2, generation_pb2_grpc, usage_pb2, usage_pb2_grpc
from services.gemini_proxy.accounts.ledger import Entry, Filter, Ledger
from services.gemini_proxy.config import GeminiSettings, MemberSettings
from services.gemini_proxy.service import GeminiService
from tests.gemini.config import TEST_KEY, Config, default_config
from tests.gemini.server import Emulator, emulator
from tests.gemini_proxy.emulated_prices import prices_toml
from tests.in_process import served

FLASH = "models/gemini-3.8-flash"
WAIT_S = 30


@dataclass(frozen=True)
class Proxy:
    """A gemini_proxy that serves, and what stands behind it."""

    address: str
    client: AsyncClient
    stub: generation_pb2_grpc.GenerationServiceStub
    gemini: Emulator
    service: GeminiService = field(repr=False)

    @property
    def ledger(self) -> Ledger:
        return self.service.ledger

    async def settled(self) -> None:
        """Returns once nothing is held and nothing is generated: ledger and bill are whole."""
        async with asyncio.timeout(WAIT_S):
            while await self.ledger.holdings():  # noqa: ASYNC110 - the books ring no event
                await asyncio.sleep(0.01)
            await self.gemini.idle()

    async def entries(self) -> list[Entry]:
        """The ledger's, oldest first."""
        today = datetime.now(UTC).date()
        return [entry async for entry in self.ledger.export(Filter(today - timedelta(days=1), today))]

    async def cost(self) -> int:
        """The ledger's sum, in nano-dollars."""
        today = datetime.now(UTC).date()
        return sum(row.sums.cost_nanousd for row in await self.ledger.usage(Filter(today - timedelta(days=1), today)))

    async def costs(self) -> Counter[str]:
        """By attempt, of those that cost something."""
        costs: Counter[str] = Counter()
        for entry in await self.entries():
            costs[entry.attempt_id] += entry.sums.cost_nanousd
        return +costs

    async def reconcile(self) -> None:
        """Reads the emulator's record, which Vertex AI keeps alike, into the ledger."""
        record = usage_pb2.ReconcileUsageRequest(data=self.gemini.bill.log().encode())
        async with grpc.aio.insecure_channel(self.address) as channel:
            await usage_pb2_grpc.UsageServiceStub(channel).ReconcileUsage(iter([record]), timeout=WAIT_S)

    def bill(self) -> Counter[str]:
        """The emulator's, by attempt; it knows the attempts of Vertex members alone."""
        bill: Counter[str] = Counter()
        for line in self.gemini.bill.lines:
            bill[line.labels["chiasm_attempt"]] += line.cost_nanousd
        return bill


@asynccontextmanager
async def proxy(
    folder: Path,
    redis_url: str | None,
    config: Config | None = None,
    *,
    members: Mapping[str, Mapping[str, object]] | None = None,
    until_ready: bool = True,
    **settings: object,
) -> AsyncIterator[Proxy]:
    """Serves with one key, or with `members` (fields on top of the same key) by name, `settings` on top; at the
    emulator's prices. Ends it all."""
    config = config or default_config()
    async with emulator(config) as gemini:
        prices_file = folder / "prices.toml"
        prices_file.write_text(prices_toml(config.models))
        given: dict[str, object] = {"models": ("gemini-3.8-flash",), "books_timeout_s": 5, "prices_file": prices_file}
        if members is None:
            given |= {"api_key": SecretStr(TEST_KEY), "base_url": gemini.base_url}
        else:
            given["members"] = tuple(
                MemberSettings(**{"name": name, "api_key": SecretStr(TEST_KEY), "base_url": gemini.base_url} | fields)
                for name, fields in members.items()
            )
        configured = GeminiSettings(
            port=0,
            redis_url=SecretStr(redis_url) if redis_url else None,
            ready_file=folder / "ready",
            spool_file=folder / "spool.jsonl",
            **given | settings,
        )
        configured.ready_file.unlink(missing_ok=True)
        service = GeminiService(configured)
        async with (
            served(service, configured, until_ready=until_ready) as process,
            AsyncClient(process.address) as client,
            grpc.aio.insecure_channel(process.address) as channel,
        ):
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            yield Proxy(process.address, client, stub, gemini, service)


VERTEX = {"main": {"vertex": True}}
"""One member whose calls bear the attempt's id, so that bill and ledger can be compared by attempt."""


def question(
    text: str, *media: bytes, task: int = generation_pb2.TASK_OPEN, **config: object
) -> generation_pb2.GenerateRequest:
    """A user's turn of `media` and `text`."""
    parts = [generation_pb2.Part(media={"data": data}) for data in media]
    if text:
        parts.append(generation_pb2.Part(text=text))
    return generation_pb2.GenerateRequest(
        model=FLASH,
        task=task,
        messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)],
        config=generation_pb2.GenerationConfig(**config),
    )


def directed(text: str = "", **directive: object) -> str:
    """A prompt that tells the emulator what to do; see tests/gemini/script.py."""
    return text + json.dumps({"emulate": directive})


async def text_and_end(call: grpc.aio.UnaryStreamCall) -> tuple[str, generation_pb2.Finished]:
    """A stream's text and its last event."""
    events = [event async for event in call]
    assert [event.WhichOneof("event") for event in events].count("finished") == 1
    return "".join(event.delta.text for event in events), events[-1].finished


@dataclass(frozen=True)
class Failure:
    """What a call failed with."""

    code: str
    reason: str
    message: str
    field: str
    retry_after_s: float | None
    quota: error_details_pb2.QuotaFailure.Violation | None
    text: str
    """What had come of the answer."""
    raw: str = field(repr=False)
    """Everything that was sent of the status."""


async def failure_of(call: grpc.aio.Call) -> Failure:
    """`call` is unary or streamed, and must fail."""
    text = ""
    try:
        if isinstance(call, grpc.aio.UnaryUnaryCall):
            await call
        else:
            async for event in call:
                text += event.delta.text
    except grpc.aio.AioRpcError as error:
        return _failure(error, text)
    raise AssertionError("the call did not fail")


def _failure(error: grpc.aio.AioRpcError, text: str) -> Failure:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    quota, request = error_details_pb2.QuotaFailure(), error_details_pb2.BadRequest()
    found: set[str] = set()
    for detail in rpc_status.from_call(error).details:
        found |= {message.DESCRIPTOR.name for message in (info, retry, quota, request) if detail.Unpack(message)}
    return Failure(
        code=error.code().name,
        reason=info.reason,
        message=error.details(),
        field=request.field_violations[0].field if "BadRequest" in found else "",
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if "RetryInfo" in found else None,
        quota=quota.violations[0] if "QuotaFailure" in found else None,
        text=text,
        raw=f"{error.details()} {error.trailing_metadata()} {info} {retry} {quota} {request}",
    )
