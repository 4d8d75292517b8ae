"""How much faster grpc.aio is on uvloop than on asyncio's own loop: `python -m bench.loop`.

Client and server share the loop. The two loops take turns, so that the machine's moods touch both alike; the figure is
the median of the rounds' ratios, above 1 when uvloop is faster.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable

import grpc
import uvloop

ROUNDS = 7
UNARY_CALLS = 2_000
CALLERS = 16
STREAM_MESSAGES = 4_000
PAYLOAD = b"x" * 128


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if handler_call_details.method == "/echo/unary":
            return grpc.unary_unary_rpc_method_handler(_unary)
        return grpc.unary_stream_rpc_method_handler(_stream)


async def _unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return request


async def _stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for _ in range(STREAM_MESSAGES):
        yield request


async def seconds() -> tuple[float, float]:
    """How long the unary calls took, and the stream."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary, stream = channel.unary_unary("/echo/unary"), channel.unary_stream("/echo/stream")
        await unary(PAYLOAD)

        async def caller() -> None:
            for _ in range(UNARY_CALLS // CALLERS):
                await unary(PAYLOAD)

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        middle = time.perf_counter()
        async for _ in stream(PAYLOAD):
            pass
        end = time.perf_counter()
    await server.stop(None)
    return middle - begun, end - middle


def measure(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> tuple[float, float]:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(seconds())


def main() -> None:
    rounds = [(measure(asyncio.new_event_loop), measure(uvloop.new_event_loop)) for _ in range(ROUNDS)]
    for index, name in enumerate(("unary", "stream")):
        ratio = statistics.median(plain[index] / fast[index] for plain, fast in rounds)
        print(f"uvloop_over_asyncio_{name} {ratio:.2f}")


if __name__ == "__main__":
    main()
