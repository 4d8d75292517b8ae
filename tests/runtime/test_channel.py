import grpc
from google.protobuf.message import Message

from chiasm.v1 import generation_pb2, generation_pb2_grpc, media_pb2
from services.runtime.channel import open_channel
from tests.client.scripted import Context, fail, serving, whole_answer


async def test_a_request_with_a_photograph_is_tried_again() -> None:
    async with serving(health=True) as server:

        async def script(context: Context) -> Message:
            if len(server.requests) < 2:
                await fail(context, grpc.StatusCode.UNAVAILABLE, "later", "MODEL_UNAVAILABLE")
            return await whole_answer(context)

        server.unary = script
        part = generation_pb2.Part(media=media_pb2.Media(data=bytes(2**20)))
        request = generation_pb2.GenerateRequest(messages=[generation_pb2.Message(parts=[part])])
        async with open_channel(server.address, max_message_bytes=32 * 2**20) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            assert (await stub.Generate(request, timeout=30)).text == "two circles"
    assert server.requests == [request, request]
