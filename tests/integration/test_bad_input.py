import asyncio

import grpc
import pytest

from chiasm import AsyncClient
from chiasm.command.stack import Stack
from chiasm.errors import ChiasmError, from_rpc_error
from chiasm.v1 import generation_pb2_grpc
from tests.integration.bad_input import BadRequest, bad_requests
from tests.pictures import scene_png
from tests.stacks import gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")
CASES = bad_requests()


async def refusal(address: str, case: BadRequest, *, stream: bool) -> tuple[grpc.StatusCode, ChiasmError]:
    async with grpc.aio.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        call = stub.StreamGenerate(case.request, timeout=30) if stream else stub.Generate(case.request, timeout=30)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if stream else call)
    return caught.value.code(), from_rpc_error(caught.value)


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_is_refused_with_its_field(stack: Stack, name: str) -> None:
    case = CASES[name]
    for stream in (False, True):
        code, error = await refusal(gateway(stack), case, stream=stream)
        assert (code, error.field, error.reason) == (case.code, case.field, case.reason)


async def test_bad_images_among_good_ones_fail_alone(client: AsyncClient) -> None:
    _, good = scene_png()
    broken = good[: len(good) // 2]
    asked = [client.ask(broken if i % 4 == 0 else good, "how many shapes are there?") for i in range(16)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, ChiasmError) for answer in answers] == [i % 4 == 0 for i in range(16)]
    assert (await client.models())[0].ready
