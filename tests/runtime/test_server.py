import asyncio
import os
import signal
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chiasm.v1 import generation_pb2_grpc
from tests.runtime.conftest import START_S, Served, until
from tests.runtime.echo import ask
from tests.runtime.test_boundary import details

GENERATION = "chiasm.v1.GenerationService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(autouse=True)
async def _deadline():
    async with asyncio.timeout(4 * START_S):
        yield


def watch(channel: grpc.aio.Channel, name: str) -> grpc.aio.UnaryStreamCall:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))


async def check(channel: grpc.aio.Channel, name: str) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return answer.status


async def ready(channel: grpc.aio.Channel) -> None:
    async for change in watch(channel, GENERATION):
        if change.status == SERVING:
            return


async def begun_wait(served: Served, text: str = "wait") -> grpc.aio.UnaryUnaryCall:
    call = served.stub.Generate(ask(text), timeout=START_S)
    await served.service.begun.acquire()
    return call


async def test_liveness_and_readiness_while_starting(serving):
    async with serving(fails="slow-start") as served:
        assert await check(served.channel, "") == SERVING
        assert await check(served.channel, GENERATION) == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.Generate(ask("hello"))
        assert details(caught.value)["ErrorInfo"].reason == "MODEL_UNAVAILABLE"
        served.service.release.set()
        await ready(served.channel)


async def test_watch_follows_readiness_through_a_drain(serving):
    async with serving() as served:
        await ready(served.channel)
        readiness, liveness = watch(served.channel, GENERATION), watch(served.channel, "")
        assert (await readiness.read()).status == SERVING
        assert (await liveness.read()).status == SERVING
        served.service.readiness.set(False)
        assert (await readiness.read()).status == NOT_SERVING
        served.service.readiness.set(True)
        assert (await readiness.read()).status == SERVING
        call = await begun_wait(served)
        served.terminate()
        assert (await readiness.read()).status == NOT_SERVING
        served.service.readiness.set(True)  # too late
        served.service.release.set()
        assert (await call).text == "wait"
        for ended in (readiness, liveness):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ended.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await served.exit_code == 0


async def test_health_of_a_service_that_is_not_served(serving):
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(served.channel, "no.such.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        unknown = watch(served.channel, "no.such.Service")
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()


async def test_reflection_lists_the_services(serving):
    async with serving() as served:
        stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = {service.name for service in (await call.read()).list_services_response.service}
    assert listed == {GENERATION, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_one_call_too_many_is_told_when_to_come_again(serving):
    async with serving(max_concurrent_calls=1) as served:
        await ready(served.channel)
        call = await begun_wait(served)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.Generate(ask("hello"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details(caught.value)["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == 1.0
        assert await check(served.channel, "") == SERVING
        served.service.release.set()
        await call
        assert (await served.stub.Generate(ask("hello"))).text == "hello"


async def test_calls_are_served_during_propagation_and_a_second_signal_hurries(serving):
    async with serving(drain_propagation_s=START_S) as served:
        await ready(served.channel)
        readiness = watch(served.channel, GENERATION)
        assert (await readiness.read()).status == SERVING
        served.terminate()
        assert (await readiness.read()).status == NOT_SERVING
        assert await check(served.channel, "") == SERVING
        assert (await served.stub.Generate(ask("hello"))).text == "hello"
        await served.service.begun.acquire()
        call = await begun_wait(served)
        served.terminate()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details(caught.value)["ErrorInfo"].reason == "SHUTTING_DOWN"
        assert await served.exit_code == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_longer_than_the_drain_get_a_status(serving, stream):
    async with serving(drain_timeout_s=0.1) as served:
        await ready(served.channel)
        if stream:
            call = served.stub.StreamGenerate(ask("slow-clean-up"))
            await call.read()
            await served.service.begun.acquire()  # it may be still sending what is read
        else:
            call = await begun_wait(served, "slow-clean-up")
        served.terminate()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if stream else call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details(caught.value)["ErrorInfo"].reason == "SHUTTING_DOWN"
        assert await served.exit_code == 0
        closed = ["closed"] if stream else []
        assert served.service.journal == ["cancelled", "clean", *closed, "stop"]


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_waits_for_the_clean_up_of_calls_their_clients_cancelled(serving, stream):
    async with serving() as served:
        await ready(served.channel)
        if stream:
            call = served.stub.StreamGenerate(ask("slow-clean-up"))
            await call.read()
            await served.service.begun.acquire()  # it may be still sending what is read
        else:
            call = await begun_wait(served, "slow-clean-up")
        call.cancel()
        await until(lambda: served.service.journal)
        served.terminate()
        assert await served.exit_code == 0
        closed = ["closed"] if stream else []
        assert served.service.journal == ["cancelled", "clean", *closed, "stop"]


@pytest.mark.parametrize("fails", ["start", "run"])
async def test_a_service_that_fails_ends_the_process_with_1(spawning, fails):
    async with spawning(fails=fails) as spawned:
        assert await spawned.exit_code() == 1
        assert "RuntimeError" in spawned.log.read_text()
        assert spawned.journal.read_text().split() == ["stop"]


async def test_a_setting_found_bad_at_the_start_is_told_in_one_line_and_ends_the_process_with_2(spawning):
    async with spawning(fails="setting") as spawned:
        assert await spawned.exit_code() == 2
        log = spawned.log.read_text()
    assert log.endswith("chiasm echo: bad settings\n  CHIASM_ECHO_FAILS: it should not\n")
    assert "Traceback" not in log


async def test_an_address_in_use_is_logged_and_ends_the_process_with_1(spawning):
    async with spawning("first") as first:
        port = first.address.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.runtime.echo",
            env=os.environ | {"CHIASM_ECHO_PORT": port},
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await second.communicate()
    assert second.returncode == 1
    assert "cannot serve" in log.decode()


async def test_a_service_whose_run_returns_drains_and_ends_with_1(serving):
    async with serving() as served:
        await ready(served.channel)
        call = await begun_wait(served)
        served.service.failure.set()
        served.service.release.set()
        assert (await call).text == "wait"
        assert await served.exit_code == 1


async def test_a_signal_while_starting_ends_the_process_with_0(spawning):
    async with spawning(fails="slow-start") as spawned:
        spawned.process.terminate()
        assert await spawned.exit_code() == 0


async def test_a_terminated_process_completes_every_call_in_flight(spawning):
    async with spawning() as spawned, grpc.aio.insecure_channel(spawned.address) as channel:
        await ready(channel)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        answers = [stub.Generate(ask("work"), timeout=START_S) for _ in range(10)]
        streams = [stub.StreamGenerate(ask("work"), timeout=START_S) for _ in range(10)]
        await spawned.happened("begun", 20)
        spawned.process.send_signal(signal.SIGTERM)
        assert [(await call).text for call in answers] == ["work"] * 10
        for call in streams:
            assert [event.delta.text async for event in call] == ["begun", "work"]
        assert await spawned.exit_code() == 0
        assert spawned.journal.read_text().split() == ["begun"] * 20 + ["closed"] * 10 + ["stop"]


async def test_under_load_every_call_gets_a_status(spawning):
    """Calls keep coming while the process drains; each ends with an answer or is told to go elsewhere."""
    async with spawning() as spawned, grpc.aio.insecure_channel(spawned.address) as channel:
        await ready(channel)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        answered = asyncio.Event()
        codes: list[grpc.StatusCode] = []

        async def load() -> None:
            while True:
                try:
                    await stub.Generate(ask("hello"), timeout=START_S)
                    codes.append(grpc.StatusCode.OK)
                    answered.set()
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
                    return

        async with asyncio.TaskGroup() as callers:
            for _ in range(20):
                callers.create_task(load())
            await answered.wait()
            spawned.process.send_signal(signal.SIGTERM)
        assert await spawned.exit_code() == 0
    assert grpc.StatusCode.OK in codes
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
