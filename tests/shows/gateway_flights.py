"""The gateway: one flight for equal questions of three processes; a killed leader; Redis killed and restarted."""

import asyncio
import itertools
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2, generation_pb2_grpc, media_pb2
from evals.figures import Figure
from tests.client import scripted
from tests.client.scripted import Context, Scripted, delta, finished, started
from tests.pictures import scene_png
from tests.valkey import valkey_server

CALLS = 1_000
GATEWAYS = 3
TIMEOUT_S = 60
WORKERS = 24
OUTAGE_S = 3.0
ANSWER = "two circles"

_PICTURE = scene_png()[1]

Event = generation_pb2.StreamGenerateResponse


@dataclass
class Fleet:
    """Gateways before one model server, and a way to ask them."""

    stack: Stack
    server: Scripted
    stubs: list[generation_pb2_grpc.GenerationServiceStub]
    showing: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in range(GATEWAYS)])
    """Of each gateway: set once a stream of its has shown a delta."""
    failed: Counter[str] = field(default_factory=Counter)
    """Calls by what ended them, but for those that a killed gateway ended."""

    @property
    def asked(self) -> int:
        """Questions that the model server was asked."""
        return sum(isinstance(request, generation_pb2.GenerateRequest) for request in self.server.requests)

    async def ask(self, at: int, text: str, *, stream: bool) -> generation_pb2.Finished | None:
        """The end of a right and whole answer; None of any other. Asks the next gateway where one has gone away."""
        for gateway in itertools.islice(itertools.cycle(range(GATEWAYS)), at, at + GATEWAYS):
            try:
                if stream:
                    return await self._stream(gateway, text)
                response = await self.stubs[gateway].Generate(_question(text), timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.failed[f"{error.code().name}: {error.details()}"] += 1
                    return None
            else:
                return response.finished if response.text == ANSWER else None
        self.failed["no gateway was available"] += 1
        return None

    async def _stream(self, gateway: int, text: str) -> generation_pb2.Finished | None:
        said = ""
        async for event in self.stubs[gateway].StreamGenerate(_question(text), timeout=TIMEOUT_S):
            match event.WhichOneof("event"):
                case "delta":
                    said += event.delta.text
                    self.showing[gateway].set()
                case "superseded":
                    said = ""
                case "finished":
                    return event.finished if said == ANSWER else None
        return None

    async def ask_many(self, count: int, text: str) -> list[asyncio.Task[generation_pb2.Finished | None]]:
        """Equal questions, spread over the gateways, every other one streamed; returns once all are sent and each
        gateway has shown a part of the answer."""
        calls = [asyncio.create_task(self.ask(i % GATEWAYS, text, stream=i % 2 == 0)) for i in range(count)]
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(showing.wait() for showing in self.showing))
        return calls


async def one_flight() -> list[Figure]:
    """1,000 equal calls at once, streamed and not, over 3 gateways"""
    go = asyncio.Event()

    async def waits(context: Context) -> AsyncIterator[Event]:
        yield started()
        yield delta("two ")
        await go.wait()
        yield delta("circles")
        yield finished()

    with valkey_server(save="") as valkey:
        async with fleet(valkey.port) as gateways:
            gateways.server.stream = waits
            calls = await gateways.ask_many(CALLS, "how many?")
            go.set()
            ends = [end for end in await asyncio.gather(*calls) if end]
            return [
                Figure("flights_equal_calls_answered_whole", len(ends), "==", CALLS),
                Figure("flights_equal_calls_asked_upstream", gateways.asked, "==", 1),
                Figure("flights_equal_calls_that_cost", sum(end.usage.cost_nanousd > 0 for end in ends), "==", 1),
            ]


async def killed_leader() -> list[Figure]:
    """the same, and the process that leads the flight is killed in its midst"""

    async def waits_the_first_time(context: Context) -> AsyncIterator[Event]:
        first = gateways.asked == 1
        yield started()
        yield delta("two ")
        if first:
            await asyncio.Event().wait()
        yield delta("circles")
        yield finished()

    with valkey_server(save="") as valkey:
        async with fleet(valkey.port) as gateways:
            gateways.server.stream = waits_the_first_time
            leader = asyncio.create_task(gateways.ask(0, "how many?", stream=True))
            async with asyncio.timeout(TIMEOUT_S):
                await gateways.showing[0].wait()
            calls = [leader, *await gateways.ask_many(CALLS - 1, "how many?")]
            gateways.stack.services["gateway-0"].kill()
            ends = [end for end in await asyncio.gather(*calls) if end]
            return [
                Figure("flights_killed_leader_answered_whole", len(ends), "==", CALLS),
                Figure("flights_killed_leader_asked_upstream", gateways.asked, "<=", 2),
            ]


async def redis_restarted() -> list[Figure]:
    """Redis killed and restarted under load"""

    async def slow(context: Context) -> AsyncIterator[Event]:
        yield started()
        await asyncio.sleep(0.02)
        yield delta(ANSWER)
        yield finished()

    valkey = valkey_server(save="")
    valkey.start()
    try:
        async with fleet(valkey.port) as gateways, asyncio.TaskGroup() as group:
            gateways.server.stream = slow
            ends: list[bool] = []
            over = asyncio.Event()
            for worker in range(WORKERS):
                group.create_task(_load(gateways, worker, ends, over))
            await _shared(gateways, ends)
            before = len(ends)
            valkey.terminate()
            await asyncio.sleep(OUTAGE_S)
            during = len(ends) - before
            await asyncio.to_thread(valkey.start)
            back_s = await _shared(gateways, ends)
            over.set()
        return [
            Figure("redis_killed_calls_failed", ends.count(False), "==", 0),
            Figure("redis_killed_calls_answered_while_gone", during, ">=", 1),
            Figure("redis_back_answers_and_flights_shared_after_s", round(back_s, 1), "<=", 10),
        ]
    finally:
        valkey.stop()


async def _load(gateways: Fleet, worker: int, ends: list[bool], over: asyncio.Event) -> None:
    questions = random.Random(worker)
    while not over.is_set():
        text = f"question {questions.randrange(200)}"
        ends.append(bool(await gateways.ask(worker % GATEWAYS, text, stream=questions.random() < 0.5)))


async def _shared(gateways: Fleet, ends: list[bool]) -> float:
    """Seconds until two gateways share a stored answer, and a flight; at most `TIMEOUT_S`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + TIMEOUT_S:
        text = f"shared after {len(ends)}"
        ends.append(bool(await gateways.ask(0, text, stream=False)))
        stored = await gateways.ask(1, text, stream=False)
        both = await asyncio.gather(*(gateways.ask(at, f"{text} at once", stream=True) for at in (0, 1)))
        ends += [bool(stored), *map(bool, both)]
        statuses = [end.route.attempts[-1].status for end in (stored, *both) if end]
        if statuses[:1] == ["CACHED"] and sorted(statuses[1:]) == ["JOINED", "OK"]:
            break
    return loop.time() - began


@asynccontextmanager
async def fleet(redis_port: int) -> AsyncIterator[Fleet]:
    """Three gateways, ready."""
    names = [f"gateway-{i}" for i in range(GATEWAYS)]
    async with scripted.serving() as server, AsyncExitStack() as resources:
        environment = {
            "CHIASM_GATEWAY_TARGETS": server.address,
            "CHIASM_GATEWAY_REDIS_URL": f"redis://127.0.0.1:{redis_port}",
            "CHIASM_GATEWAY_MAX_CONCURRENT_CALLS": str(CALLS),
        }
        specs = [ServiceSpec(name, "services.gateway", service="gateway", environment=environment) for name in names]
        logs = resources.enter_context(tempfile.TemporaryDirectory(prefix="chiasm-show-"))
        stack = await resources.enter_async_context(Stack(specs, log_dir=Path(logs)))
        await stack.wait_ready(60)
        addresses = [stack.services[name].address for name in names]
        channels = [await resources.enter_async_context(grpc.aio.insecure_channel(a)) for a in addresses]
        gateways = Fleet(stack, server, [generation_pb2_grpc.GenerationServiceStub(channel) for channel in channels])
        yield gateways
        for what, times in gateways.failed.items():
            print(f"  {times} x {what}", file=sys.stderr)


def _question(text: str) -> generation_pb2.GenerateRequest:
    parts = [generation_pb2.Part(media=media_pb2.Media(data=_PICTURE)), generation_pb2.Part(text=text)]
    return generation_pb2.GenerateRequest(
        task=generation_pb2.TASK_ANSWER, messages=[generation_pb2.Message(parts=parts)]
    )


SHOWS = (one_flight, killed_leader, redis_restarted)
