"""Load reports: what gRPC's own balancing makes of them, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from chiasm.v1 import generation_pb2, generation_pb2_grpc, load_report_pb2
from services.runtime.generation import GenerationServer
from services.runtime.load_report import BALANCING, Load, Rate, trailing_metadata
from tests.client import scripted


@asynccontextmanager
async def telling(utilization: float | None) -> AsyncIterator[scripted.Scripted]:
    """A server that tells of this load with each answer, or of none."""

    async def stream(context: grpc.aio.ServicerContext) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        async for event in scripted.whole_stream(context):
            yield event
        if utilization is not None:
            context.set_trailing_metadata(trailing_metadata(Load(utilization), 10.0))

    async with scripted.serving() as server:
        server.stream = stream
        yield server


class Server(GenerationServer):
    """Busier the more it answers; `cost` is the share of a second that an answer takes."""

    def __init__(self, cost: float) -> None:
        self.address = ""
        self.requests: list[generation_pb2.GenerateRequest] = []
        self._cost, self._answers_begun = cost, Rate()

    def load(self) -> Load:
        return Load(self._cost * self._answers_begun.per_s)

    async def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        self.requests.append(request)
        self._answers_begun.happened()
        async for event in scripted.whole_stream(context):
            yield event


@asynccontextmanager
async def serving(cost: float) -> AsyncIterator[Server]:
    service, server = Server(cost), grpc.aio.server()
    service.register(server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


Counted = scripted.Scripted | Server


@asynccontextmanager
async def asking(*servers: Counted) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Asks one of the servers, which all have been reached."""
    options = [("grpc.service_config", json.dumps({"loadBalancingConfig": BALANCING})), ("grpc.enable_http_proxy", 0)]
    addresses = ",".join(server.address for server in servers)
    async with grpc.aio.insecure_channel(f"ipv4:{addresses}", options=options) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)

        async def ask() -> None:
            async for _ in stub.StreamGenerate(generation_pb2.GenerateRequest(), wait_for_ready=True):
                pass

        while not all(server.requests for server in servers):
            await ask()
        yield ask


async def shares(ask: Callable[[], Awaitable[None]], *servers: Counted, calls: int) -> list[int]:
    """How many of so many further calls each server got."""
    before = [len(server.requests) for server in servers]
    for _ in range(calls):
        await ask()
    return [len(server.requests) - count for server, count in zip(servers, before, strict=True)]


async def test_a_busy_replica_gets_fewer_calls() -> None:
    async with (
        telling(0.9) as busy,
        telling(0.3) as idle,
        asking(busy, idle) as ask,
        asyncio.timeout(60),
    ):
        got = await shares(ask, busy, idle, calls=40)
        while got[1] < 1.5 * got[0]:  # until the balancing has heard of both for a while
            got = await shares(ask, busy, idle, calls=40)
        got = await shares(ask, busy, idle, calls=40)  # the first whole window by weight
        got = await shares(ask, busy, idle, calls=200)
    assert 2 <= got[1] / got[0] <= 4.5


async def test_servers_tell_of_the_load_that_they_measure() -> None:
    """One whose answers each take three times as much of it gets a third of the calls."""
    async with serving(0.03) as slow, serving(0.01) as fast, asking(slow, fast) as ask, asyncio.timeout(60):
        got = await shares(ask, slow, fast, calls=40)
        while got[1] < 1.5 * got[0]:
            got = await shares(ask, slow, fast, calls=40)
        await shares(ask, slow, fast, calls=40)
        got = await shares(ask, slow, fast, calls=200)
    assert 2 <= got[1] / got[0] <= 4.5


async def test_replicas_that_tell_nothing_take_turns() -> None:
    async with telling(None) as one, telling(None) as two, asking(one, two) as ask, asyncio.timeout(60):
        assert await shares(ask, one, two, calls=40) == [20, 20]


def test_the_report_is_what_grpc_reads() -> None:
    """The field numbers of xds.data.orca.v3.OrcaLoadReport, as its file gives them."""
    ((key, data),) = trailing_metadata(Load(0.5, running=3, waiting=1, kv_cache_usage=0.25), 8.0)
    fields = load_report_pb2.LoadReport.DESCRIPTOR.fields_by_name
    numbers = {name: field.number for name, field in fields.items()}
    assert key.endswith("-bin")
    assert numbers == {"rps_fractional": 6, "named_metrics": 8, "application_utilization": 9}
    report = load_report_pb2.LoadReport.FromString(data)
    assert report.named_metrics == {"running": 3, "waiting": 1, "kv_cache_usage": 0.25}
    assert (report.rps_fractional, report.application_utilization) == (8, 0.5)


def test_a_rate_is_of_the_last_seconds() -> None:
    now = [100.0]
    rate = Rate(lambda: now[0])
    for _ in range(20):
        now[0] += 0.1
        rate.happened()
    assert rate.per_s == pytest.approx(10, rel=0.1)
    for _ in range(600):
        now[0] += 0.05
        rate.happened()
    assert rate.per_s == pytest.approx(20, rel=0.05)
    now[0] += 60
    assert rate.per_s < 0.01
