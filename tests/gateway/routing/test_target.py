"""A target before a real server that says what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from chiasm.v1 import models_pb2
from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE
from services.gateway.attempts.failure import Failure
from services.gateway.config import GatewaySettings
from services.gateway.routing.target import Target
from services.runtime.boundary import Upstream
from tests.client import scripted
from tests.client.scripted import TINY, Scripted
from tests.gateway.routing.asks import Switch, request, small


@asynccontextmanager
async def watched(server: Scripted) -> AsyncIterator[tuple[Target, asyncio.Event]]:
    target, changed = Target(server.address, GatewaySettings(refresh_s=0.01), Switch()), asyncio.Event()
    watching = asyncio.create_task(target.watch(changed))
    try:
        async with asyncio.timeout(20):
            yield target, changed
    finally:
        watching.cancel()
        await target.close()


async def look(changed: asyncio.Event) -> None:
    await changed.wait()
    changed.clear()


async def test_it_knows_what_is_ready_and_what_ever_was_listed() -> None:
    async with scripted.serving() as server, watched(server) as (target, changed):
        await look(changed)
        assert (set(target.models), set(target.known)) == ({"models/tiny"}, {"models/tiny", "models/second"})
        server.pages = [[small()]]
        await look(changed)
        assert set(target.models) == {"models/small"}
        assert set(target.known) == {"models/tiny", "models/second", "models/small"}


async def test_calls_of_others_are_those_that_are_not_its_own() -> None:
    busy = models_pb2.Model()
    busy.CopyFrom(TINY)
    busy.load.running, busy.load.waiting = 3, 2
    async with scripted.serving() as server, watched(server) as (target, changed):
        await look(changed)
        with target.working("models/tiny", 1.0), target.working("models/second", 1.0):
            server.pages = [[busy]]
            while not any(target.others.values()):  # noqa: ASYNC110 - no event is rung for a load
                await asyncio.sleep(0.01)
            assert target.others == {"models/tiny": 3}


async def test_a_call_carries_its_metadata_and_is_cancelled_when_it_is_closed() -> None:
    ended = asyncio.Event()

    async def endless(context: scripted.Context) -> AsyncIterator[object]:
        try:
            # Within: the caller may leave while the first event is still being sent.
            yield scripted.started()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with scripted.serving() as server, watched(server) as (target, _):
        server.stream = endless
        async with aclosing(target.stream(request(), 20, (("chiasm-tenant", "acme"),))) as events:
            assert (await anext(events)).HasField("started")
        await ended.wait()
    asked = [metadata for metadata in server.metadata if "chiasm-tenant" in metadata]
    assert [metadata["chiasm-tenant"] for metadata in asked] == ["acme"]


async def test_a_failing_call_is_an_error_of_ours() -> None:
    async def failing(context: scripted.Context) -> AsyncIterator[object]:
        yield scripted.started()
        raise RuntimeError("secret of the model server")

    async with scripted.serving() as server, watched(server) as (target, _):
        server.stream = failing
        with pytest.raises(Upstream):
            async for _ in target.stream(request(), 20):
                pass


async def test_what_is_larger_than_the_server_takes_is_not_its_fault() -> None:
    async with scripted.serving() as server, watched(server) as (target, _):
        with pytest.raises(Upstream, match=r"5,\d{3},\d{3} bytes; at most 4,194,304 are taken") as caught:
            async for _ in target.stream(request("how many?", bytes(5 * 2**20)), 20):  # gRPC takes 4 MiB by itself
                pass
    failure = Failure(caught.value)
    assert (caught.value.code.name, caught.value.reason) == ("INVALID_ARGUMENT", ERROR_REASON_MESSAGE_SIZE)
    assert (failure.reason, failure.of_target, failure.may_retry) == ("quota", False, False)  # another may take it
