"""The gateway at five times the capacity of what is behind it."""

import asyncio
import math
import os
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import yaml

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2, generation_pb2_grpc, media_pb2, models_pb2, models_pb2_grpc
from evals.figures import Figure
from tests.client import scripted
from tests.pictures import scene_png

SLOTS = 8
SERVICE_S = 0.2
CAPACITY = SLOTS / SERVICE_S
DEADLINE_S = 2.0
REQUEST_BYTES = 128 * 2**10
MAX_BYTES = 8 * 2**20
PEAK_S = 10.0
OVERLOAD = 5.0
COPIES = 4
"""Of a request's bytes in the gateway: as received, as decoded, as resolved, and as sent on."""


class TimedModel(generation_pb2_grpc.GenerationServiceServicer, models_pb2_grpc.ModelServiceServicer):
    """Answers `SLOTS` calls at once, each in `SERVICE_S`; the others wait in it, first come first served."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        yield scripted.started()
        async with self._slots:
            await asyncio.sleep(SERVICE_S)
        yield scripted.delta("two circles")
        yield scripted.finished()

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=[scripted.TINY])


@dataclass
class Outcome:
    """What became of the calls of one phase."""

    asked: int = 0
    answered: int = 0
    refused: int = 0
    spent: list[float] = field(default_factory=list)
    """Of the calls that were admitted, the time they took over the time they had."""

    @property
    def p99_spent(self) -> float:
        return sorted(self.spent)[math.ceil(0.99 * len(self.spent)) - 1]


async def overload(seconds: float = 60.0, *, module: str = "services.gateway") -> list[Figure]:
    """Five times as many calls as the model server can answer"""
    async with _gateway(module) as (address, pid):
        peak = max([await _load(address, factor * CAPACITY, PEAK_S) for factor in (1.0, 1.25)], key=_goodput(PEAK_S))
        before = _memory(pid, "VmRSS")
        stressed = await _load(address, OVERLOAD * CAPACITY, seconds)
        grown = _memory(pid, "VmHWM") - before
    goodput = _goodput(seconds)(stressed) / _goodput(PEAK_S)(peak)
    return [
        Figure("gateway_overload_offered_over_capacity", stressed.asked / seconds / CAPACITY, ">=", 0.9 * OVERLOAD),
        Figure("gateway_overload_goodput_over_peak", goodput, ">=", 0.9),
        Figure("gateway_overload_p99_admitted_over_deadline", stressed.p99_spent, "<=", 1.0),
        Figure("gateway_overload_calls_unaccounted", stressed.asked - stressed.refused - len(stressed.spent), "==", 0),
        Figure("gateway_overload_memory_growth_over_configured", grown / (COPIES * MAX_BYTES), "<=", 1.0),
    ]


def _goodput(seconds: float) -> object:
    return lambda outcome: outcome.answered / seconds


@asynccontextmanager
async def _gateway(module: str) -> AsyncIterator[tuple[str, int]]:
    """The gateway's process before a model server in this one; its address and its process's id."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2**25)])
    model = TimedModel()
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(model, server)
    models_pb2_grpc.add_ModelServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        policy = _policy_file(Path(folder))
        environment = {
            "CHIASM_GATEWAY_TARGETS": f"127.0.0.1:{port}",
            "CHIASM_GATEWAY_POLICY_FILE": str(policy),
            "CHIASM_GATEWAY_MAX_CONCURRENT_CALLS": "1024",
        }
        spec = ServiceSpec("gateway", module, service="gateway", environment=environment)
        async with Stack([spec], log_dir=Path(folder)) as stack:
            await stack.wait_ready(60)
            gateway = stack.services["gateway"]
            yield gateway.address, gateway.pid
    await server.stop(None)


def _policy_file(folder: Path) -> Path:
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"admission": {"max_calls": 2 * SLOTS, "max_bytes": MAX_BYTES}}))
    return policy


async def _load(address: str, calls_per_s: float, seconds: float) -> Outcome:
    """Poisson arrivals for so long; returns when the last call has ended."""
    outcome, chance, loop = Outcome(), random.Random(1), asyncio.get_running_loop()
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel, asyncio.TaskGroup() as group:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        due = loop.time()
        ends = due + seconds
        while due < ends:
            await asyncio.sleep(max(0.0, due - loop.time()))
            outcome.asked += 1
            group.create_task(_call(stub, _request(outcome.asked), outcome))
            due += chance.expovariate(calls_per_s)
    return outcome


async def _call(
    stub: generation_pb2_grpc.GenerationServiceStub, request: generation_pb2.GenerateRequest, outcome: Outcome
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        await stub.Generate(request, timeout=DEADLINE_S)
        outcome.answered += 1
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            outcome.refused += 1
            return
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error
    outcome.spent.append((loop.time() - began) / DEADLINE_S)


_PICTURE = scene_png()[1]


def _request(number: int) -> generation_pb2.GenerateRequest:
    """Like no other, so that nothing but a model can answer it."""
    picture = _PICTURE + os.urandom(REQUEST_BYTES - len(_PICTURE))  # readers of PNG stop at its end
    parts = [
        generation_pb2.Part(media=media_pb2.Media(data=picture)),
        generation_pb2.Part(text=f"how many circles are in picture {number}?"),
    ]
    return generation_pb2.GenerateRequest(
        task=generation_pb2.TASK_ANSWER,
        messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)],
        routing=generation_pb2.Routing(cache_control=generation_pb2.CACHE_CONTROL_NO_STORE),
    )


def _memory(pid: int, name: str) -> int:
    """Bytes of a process, as Linux counts them: `VmRSS` now, `VmHWM` at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


SHOWS = (overload,)
