"""The whole stack: the demo twice, every bad input, a whole trace."""

import asyncio
import os
import sys
import time

import grpc
import psutil

from chiasm.errors import from_rpc_error
from chiasm.v1 import generation_pb2_grpc
from evals.figures import Figure
from tests.checkpoints import TINY
from tests.integration.bad_input import BadRequest, bad_requests
from tests.integration.trace import EXPECTED, trace_of_a_question
from tests.otlp_receiver import OtlpReceiver
from tests.stacks import ROOT, gateway, running


async def demo() -> list[Figure]:
    """`make demo` twice: right answers, no process left, and how long the second takes to start"""
    figures = []
    for run in (1, 2):
        before = {process.pid for process in psutil.process_iter()}
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scripts.demo", cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=os.environ
        )
        began, started_s = time.monotonic(), float("inf")
        async for line in command.stdout:
            if b"the stack is up" in line:
                started_s = time.monotonic() - began
        figures.append(Figure(f"demo_{run}_exit_code", await command.wait(), "==", 0))
        ours = [p for p in psutil.process_iter() if p.pid not in before and "services." in " ".join(p.cmdline())]
        figures.append(Figure(f"demo_{run}_processes_left", len(ours), "==", 0))
        if run == 2:
            figures.append(Figure("demo_2_start_s", round(started_s, 1), "<=", 60))
    return figures


async def bad_input() -> list[Figure]:
    """every bad request, unary and streamed: its code, its field and its reason; the model still serves after"""
    cases = bad_requests()
    async with (
        running(TINY) as stack,
        grpc.aio.insecure_channel(gateway(stack), [("grpc.max_send_message_length", -1)]) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        right = 0
        for name, case in cases.items():
            for call in (stub.Generate(case.request, timeout=30), stub.StreamGenerate(case.request, timeout=30)):
                if await _refused(call, case):
                    right += 1
                else:
                    print(f"  not refused as it must be: {name}", file=sys.stderr)
        alive = all(service.returncode is None for service in stack.services.values())
    return [
        Figure("bad_inputs_refused_naming_the_field", right, "==", 2 * len(cases)),
        Figure("services_alive_after_bad_inputs", alive, "==", 1),
    ]


async def _refused(call: grpc.aio.Call, case: BadRequest) -> bool:
    try:
        await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)
    except grpc.aio.AioRpcError as error:
        told = from_rpc_error(error)
        return (error.code(), told.field, told.reason) == (case.code, case.field, case.reason)
    return False


async def trace() -> list[Figure]:
    """one trace from the command's span to the engine's, at a real OTLP receiver"""
    async with OtlpReceiver() as receiver, running(TINY, {"CHIASM_OTLP_ENDPOINT": receiver.endpoint}) as stack:
        spans = await trace_of_a_question(stack, receiver)
    return [Figure("trace_spans_in_one_chain", len(spans), "==", len(EXPECTED))]


SHOWS = (demo, bad_input, trace)
