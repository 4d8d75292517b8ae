"""Whose stored answers serve whom, in a gateway's layers before real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from chiasm.v1 import generation_pb2, models_pb2
from services.gateway.config import GatewaySettings
from services.gateway.layers import Layers
from services.gateway.policy import TenantPolicy
from services.runtime.errors import PermissionDenied
from tests.client import scripted
from tests.client.scripted import TINY, Scripted
from tests.gateway.flights.answering import ask, landed, whole

OTHER = models_pb2.Model()
OTHER.CopyFrom(TINY)
OTHER.name = "models/other"


@asynccontextmanager
async def layers(servers: list[Scripted], models: set[str], **policy: object) -> AsyncIterator[Layers]:
    """Once they know `models`."""
    settings = GatewaySettings(targets=[server.address for server in servers], refresh_s=0.02, **policy)
    made = Layers(settings)
    watching = asyncio.create_task(made.run())
    try:
        await until_ready(made, models)
        yield made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await made.close()


async def until_ready(made: Layers, models: set[str]) -> None:
    async with asyncio.timeout(20):
        while True:
            made.router.changed.clear()
            if set(made.router.models) == models:
                return
            await made.router.changed.wait()


def asked(server: Scripted) -> int:
    return sum(isinstance(request, generation_pb2.GenerateRequest) for request in server.requests)


async def test_who_may_not_use_the_model_does_not_get_what_it_said() -> None:
    async with scripted.serving() as server:
        server.pages = [[TINY]]
        async with layers([server], {TINY.name}) as made:
            await whole(made.events(ask()))
            await landed()
            with pytest.raises(PermissionDenied):
                await whole(made.events(ask(account=TenantPolicy(name="other", models=("models/other",)))))
            await whole(made.events(ask(account=TenantPolicy(name="same", models=("models/t*",)))))
    assert asked(server) == 1


async def test_a_model_that_goes_away_for_a_while_takes_no_stored_answers_with_it() -> None:
    async with scripted.serving() as server:
        server.pages = [[TINY, OTHER]]
        async with layers([server], {TINY.name, OTHER.name}) as made:
            await whole(made.events(ask()))
            await landed()
            server.pages = [[TINY]]
            await until_ready(made, {TINY.name})
            await whole(made.events(ask()))
    assert asked(server) == 1


@pytest.mark.parametrize(("allow_fallback", "times"), [(False, 1), (True, 2)])
async def test_who_names_a_model_is_not_concerned_with_others(allow_fallback: bool, times: int) -> None:
    routing = generation_pb2.Routing(allow_fallback=allow_fallback)
    async with scripted.serving() as server:
        server.pages = [[TINY]]
        async with layers([server], {TINY.name}) as made:
            await whole(made.events(ask(model=TINY.name, routing=routing)))
            await landed()
            server.pages = [[TINY, OTHER]]
            await until_ready(made, {TINY.name, OTHER.name})
            await whole(made.events(ask(model=TINY.name, routing=routing)))
    assert asked(server) == times


async def test_calls_that_wait_for_anothers_answer_take_no_places(tmp_path: Path) -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def waits(context: scripted.Context) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        begun.set()
        await go.wait()
        async for event in scripted.whole_stream(context):
            yield event

    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump({"admission": {"max_calls": 1, "max_waiting": 0}}))
    async with scripted.serving() as server:
        server.pages, server.stream = [[TINY]], waits
        async with layers([server], {TINY.name}, policy_file=policy) as made:
            calls = [asyncio.create_task(whole(made.events(ask()))) for _ in range(300)]
            await begun.wait()
            go.set()
            answers = await asyncio.gather(*calls)
    assert {answer.text for answer in answers} == {"two circles"}
    assert asked(server) == 1
