"""The gateway: what becomes of calls whose model server's stream breaks."""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from PIL import Image

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2, generation_pb2_grpc, media_pb2, models_pb2, models_pb2_grpc
from evals.figures import Figure
from tests.client import scripted
from tests.fault_proxy import Break, Fault, FaultProxy
from tests.pictures import encoded

# The callers give none, so it is the gateway that has to end each call.
DEADLINE_S = 1.5
# For the gateway's last words to arrive on a busy machine.
GRACE_S = 1.0
HANG_S = 30.0
# Of `scripted.whole_stream`: its headers, `started`, two deltas, `finished` and the trailers.
PIECES = range(6)
SECOND = "models/second"
TEXTS = {"models/tiny": "two circles", SECOND: "three squares"}
PNG = encoded(Image.new("RGB", (8, 8)))
# That each fault is reached: no target is left alone, and a slow one is given up early enough.
POLICY = f"""\
default:
  candidates:
    - model: models/tiny
    - model: {SECOND}
fallback:
  slow_share: 0.3
circuit:
  failures: 1000
"""


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    case: str
    terminals: int
    """`finished` and statuses other than OK, which is to be 1."""
    wrong: bool
    """Whether what is called finished is not, to the letter, what the model says when nothing breaks."""
    answered: bool
    seconds: float
    broken: bool
    """Whether the fault was made."""


async def streams() -> list[Figure]:
    """11 faults at 6 boundaries of a stream, to unary and streamed calls, with and without another model to ask"""
    alone, helped = await asyncio.gather(_lane(second=False), _lane(second=True))
    ends = [*alone, *helped]
    for end in ends:
        if end.terminals != 1 or end.wrong or end.seconds > DEADLINE_S + GRACE_S:
            print(f"  {end}", file=sys.stderr)
    for end in helped:
        if not end.answered:
            print(f"  not answered by the other model: {end}", file=sys.stderr)
    return [
        Figure("gateway_broken_streams", len(ends), "==", 4 * len(Fault) * len(PIECES)),
        Figure("gateway_faults_made_share", sum(end.broken for end in ends) / len(ends), ">=", 0.95),
        Figure("gateway_streams_with_one_terminal_share", sum(e.terminals == 1 for e in ends) / len(ends), "==", 1),
        Figure("gateway_truncated_answers_called_finished", sum(end.wrong for end in ends), "==", 0),
        Figure("gateway_streams_ended_late", sum(end.seconds > DEADLINE_S + GRACE_S for end in ends), "==", 0),
        Figure("gateway_answered_by_another_model_share", sum(e.answered for e in helped) / len(helped), "==", 1),
    ]


async def _lane(*, second: bool) -> list[Ended]:
    """Every case, one after another, through a gateway of their own: a cut connection is cut for all its calls."""
    ends = []
    async with scripted.serving() as server, scripted.serving() as other, FaultProxy(server.address).running() as proxy:
        server.pages = [[scripted.TINY]]
        other.pages = [[_named(SECOND)]]
        other.stream = _other_stream
        async with _gateway(proxy.address, *([other.address] if second else [])) as channel:
            for fault, piece, unary in itertools.product(Fault, PIECES, (True, False)):
                await _ready(channel, 1 + second)
                case = f"{fault}-{piece}-{'unary' if unary else 'stream'}"
                ends.append(await _ended(channel, proxy, case, Break(fault, piece), unary=unary))
    return ends


def _named(name: str) -> models_pb2.Model:
    model = models_pb2.Model()
    model.CopyFrom(scripted.TINY)
    model.name = name
    return model


async def _other_stream(context: scripted.Context) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
    for event in (scripted.started(), scripted.delta("three "), scripted.delta("squares"), scripted.finished()):
        yield event


@asynccontextmanager
async def _gateway(*targets: str) -> AsyncIterator[grpc.aio.Channel]:
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        policy = Path(folder, "policy.yaml")
        await asyncio.to_thread(policy.write_text, POLICY)
        environment = {
            "CHIASM_GATEWAY_TARGETS": ",".join(targets),
            "CHIASM_GATEWAY_REFRESH_S": "0.05",
            "CHIASM_GATEWAY_POLICY_FILE": str(policy),
            "CHIASM_GATEWAY_DEFAULT_TIMEOUT_S": str(DEADLINE_S),
        }
        spec = ServiceSpec("gateway", "services.gateway", environment=environment)
        async with Stack([spec], log_dir=Path(folder)) as stack:
            await stack.wait_ready(HANG_S)
            async with grpc.aio.insecure_channel(stack.services["gateway"].address) as channel:
                yield channel


async def _ready(channel: grpc.aio.Channel, count: int) -> None:
    """Returns once the gateway has found so many models; it loses one when the proxy cuts its connection."""
    stub = models_pb2_grpc.ModelServiceStub(channel)
    async with asyncio.timeout(HANG_S):
        while len((await stub.ListModels(models_pb2.ListModelsRequest())).models) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _ended(channel: grpc.aio.Channel, proxy: FaultProxy, case: str, breaks: Break, *, unary: bool) -> Ended:
    loop = asyncio.get_running_loop()
    proxy.breaks = {case.encode(): breaks}
    began, broken_before = loop.time(), proxy.broken
    stub, request = generation_pb2_grpc.GenerationServiceStub(channel), _request(case)
    finished, status, text, model = 0, grpc.StatusCode.OK, "", ""
    try:
        async with asyncio.timeout(HANG_S):
            if unary:
                response = await stub.Generate(request)
                finished, text, model = 1, response.text, response.model
            else:
                async for event in stub.StreamGenerate(request):
                    match event.WhichOneof("event"):
                        case "started":
                            model = event.started.model
                        case "delta":
                            text += event.delta.text
                        case "superseded":
                            text = ""
                        case "finished":
                            finished += 1
    except grpc.aio.AioRpcError as error:
        status = error.code()
    return Ended(
        case=case,
        terminals=finished + (status is not grpc.StatusCode.OK),
        wrong=finished > 0 and text != TEXTS[model],
        answered=finished == 1 and status is grpc.StatusCode.OK,
        seconds=loop.time() - began,
        broken=proxy.broken > broken_before,
    )


def _request(case: str) -> generation_pb2.GenerateRequest:
    parts = [
        generation_pb2.Part(media=media_pb2.Media(data=PNG, mime_type="image/png")),
        generation_pb2.Part(text="how many?"),
    ]
    return generation_pb2.GenerateRequest(
        task=generation_pb2.TASK_ANSWER,
        messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)],
        routing=generation_pb2.Routing(cache_control=generation_pb2.CACHE_CONTROL_NO_STORE),
        request_id=case,
    )


SHOWS = (streams,)
