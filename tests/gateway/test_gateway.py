"""The gateway as a process of its own, before model servers that say what a test tells them to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chiasm import AsyncClient, Internal, InvalidArgument, NotFound, Task, Unavailable
from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.convert import generate_request
from chiasm.v1 import generation_pb2_grpc, models_pb2
from tests.client import scripted
from tests.client.scripted import Context, delta, finished, started
from tests.pictures import scene_png

PNG = scene_png()[1]


@asynccontextmanager
async def gateway_at(logs: Path, *targets: str, ready: bool = True, **settings: str) -> AsyncIterator[str]:
    environment = {"CHIASM_GATEWAY_TARGETS": ",".join(targets), "CHIASM_GATEWAY_REFRESH_S": "0.05", **settings}
    spec = ServiceSpec("gateway", "services.gateway", environment=environment)
    async with Stack([spec], log_dir=logs) as stack:
        if ready:
            await stack.wait_ready(30)
        yield await asyncio.wait_for(stack.services["gateway"].bound_address(), 30)


@asynccontextmanager
async def gateway(logs: Path, *targets: str, ready: bool = True, **settings: str) -> AsyncIterator[AsyncClient]:
    async with (
        gateway_at(logs, *targets, ready=ready, **settings) as address,
        AsyncClient(address, timeout_s=20) as client,
    ):
        yield client


async def readiness(address: str) -> AsyncIterator[int]:
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service="chiasm.v1.GenerationService")
        async for response in health_pb2_grpc.HealthStub(channel).Watch(request):
            yield response.status


async def ask(client: AsyncClient) -> str:
    stream = client.stream("how many?", [PNG], Task.ANSWER)
    async for _ in stream:
        pass
    return stream.answer.text


async def test_the_answer_passes_with_the_route_and_its_times(tmp_path: Path) -> None:
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        answer = await client.ask(PNG, "how many?")
        (request,) = [r for r in server.requests if r.DESCRIPTOR.name == "GenerateRequest"]
    assert answer.text == "two circles"
    assert request.model == "models/tiny"
    assert request.request_id
    (attempt,) = answer.route.attempts
    assert (attempt.model, attempt.revision, attempt.status) == ("models/tiny", "abc", "OK")
    assert attempt.usage.cost_nanousd == answer.usage.cost_nanousd == 1250
    assert 0 < attempt.time_to_first_token_s <= attempt.duration_s <= answer.route.duration_s < 20
    assert attempt.duration_s < 1  # the gateway's own clock, not what the server says


async def test_what_remains_of_the_deadline_travels_on(tmp_path: Path) -> None:
    remaining: list[float] = []

    async def note(context: Context) -> AsyncIterator[object]:
        remaining.append(context.time_remaining())
        for event in (started(), delta("yes"), finished()):
            yield event

    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.stream = note
        await client.ask(PNG, "how many?", timeout_s=7)
    assert 0 < remaining[0] < 7.5  # gRPC rounds timeouts up as it writes them


async def test_a_caller_without_a_deadline_gets_one(tmp_path: Path) -> None:
    async def never(context: Context) -> AsyncIterator[object]:
        yield started()
        await asyncio.Event().wait()

    async with (
        scripted.serving() as server,
        gateway_at(tmp_path, server.address, CHIASM_GATEWAY_DEFAULT_TIMEOUT_S="0.2") as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        server.stream = never
        request = generate_request("how many?", [PNG], Task.ANSWER)
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await asyncio.wait_for(generation_pb2_grpc.GenerationServiceStub(channel).Generate(request), 10)
        assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_that_ends_early_is_no_answer(tmp_path: Path) -> None:
    async def cut(context: Context) -> AsyncIterator[object]:
        for event in (started(), delta("two ")):
            yield event

    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.stream = cut
        with pytest.raises(Unavailable, match="broke off"):
            await ask(client)


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_failing_stream_ends_in_its_status(tmp_path: Path, after: int) -> None:
    async def failing(context: Context) -> AsyncIterator[object]:
        for event in (started(), delta("two "))[:after]:
            yield event
        await scripted.fail(context, grpc.StatusCode.INVALID_ARGUMENT, "no such prompt", "FIELD_INVALID", field="f")

    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.stream = failing
        with pytest.raises(InvalidArgument, match="no such prompt") as caught:
            await ask(client)
    assert caught.value.field == "f"


async def test_a_fault_upstream_stays_opaque(tmp_path: Path) -> None:
    async def faulty(context: Context) -> AsyncIterator[object]:
        yield started()
        raise RuntimeError("secret of the model server")

    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.stream = faulty
        with pytest.raises(Internal) as caught:
            await ask(client)
    assert "secret" not in str(caught.value)
    assert caught.value.correlation_id


async def test_models_of_every_target_are_listed_and_chosen_by_name(tmp_path: Path) -> None:
    async with scripted.serving() as one, scripted.serving() as two:
        two.pages = [[models_pb2.Model(name="models/other", ready=True)]]
        async with gateway(tmp_path, one.address, two.address) as client:
            while len(models := await client.models()) < 2:  # noqa: ASYNC110 - ready at the first of the two
                await asyncio.sleep(0.01)
            assert [model.name for model in models] == ["models/other", "models/tiny"]
            await client.ask(PNG, "how many?", model="models/other")
            with pytest.raises(NotFound):
                await client.ask(PNG, "how many?", model="models/absent")
            with pytest.raises(NotFound):
                await client.model("absent")
    assert "GenerateRequest" not in {r.DESCRIPTOR.name for r in one.requests}
    assert "GenerateRequest" in {r.DESCRIPTOR.name for r in two.requests}


async def test_readiness_follows_the_targets(tmp_path: Path) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        states = readiness(client.address)
        async with asyncio.timeout(20):
            assert await anext(states) == serving
            server.pages = [[]]
            assert await anext(states) == not_serving
            with pytest.raises(Unavailable, match="no model server"):
                await ask(client)
        await states.aclose()


async def test_a_request_beyond_the_message_limit_is_bad_and_not_to_be_tried_again(tmp_path: Path) -> None:
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        with pytest.raises(InvalidArgument, match="smaller pictures") as caught:
            await client.ask(bytes(33 * 2**20), "how many?")
    assert caught.value.reason == "MESSAGE_SIZE"


async def test_a_busy_target_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.busy = True
        asked = len(server.requests)
        while len(server.requests) < asked + 3:  # noqa: ASYNC110 - looks of the gateway, all of them refused
            await asyncio.sleep(0.01)
        assert (await client.ask(PNG, "how many?")).text == "two circles"


async def test_a_model_whose_server_is_down_is_unavailable_and_not_unknown(tmp_path: Path) -> None:
    async with scripted.serving() as one, scripted.serving() as two:
        two.pages = [[models_pb2.Model(name="models/other", ready=True)]]
        async with gateway(tmp_path, one.address, two.address) as client:
            while len(await client.models()) < 2:  # noqa: ASYNC110 - ready at the first of the two
                await asyncio.sleep(0.01)
            two.pages = [[]]
            while len(await client.models()) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            with pytest.raises(Unavailable, match="models/other"):
                await client.ask(PNG, "how many?", model="models/other")


async def test_a_replica_that_still_loads_gets_no_calls(tmp_path: Path) -> None:
    async with scripted.serving(health=True) as ready, scripted.serving(health=False) as loading:
        replicas = json.dumps([f"ipv4:{ready.address},{loading.address}"])
        async with gateway(tmp_path, replicas) as client:
            answers = [await client.ask(PNG, "how many?") for _ in range(10)]
    assert len(answers) == 10
    assert loading.requests == []


async def test_without_a_reachable_target_it_lives_and_says_so(tmp_path: Path) -> None:
    async with gateway(tmp_path, "127.0.0.1:1", ready=False) as client:
        with pytest.raises(Unavailable, match="no model server"):
            await ask(client)
        async with grpc.aio.insecure_channel(client.address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_clients_own_retries_do_not_multiply_attempts(tmp_path: Path) -> None:
    async def fails(context: Context) -> AsyncIterator[object]:
        await scripted.fail(context, grpc.StatusCode.UNAVAILABLE, "away", "MODEL_UNAVAILABLE")
        yield

    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        server.stream = fails
        with pytest.raises(Unavailable):
            await client.ask(PNG, "how many?", timeout_s=10)
        asked = [request for request in server.requests if request.DESCRIPTOR.name == "GenerateRequest"]
    assert 1 <= len(asked) <= 3
