"""A real gRPC server behind interceptors, that says who it takes its caller for."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from chiasm.v1 import generation_pb2, generation_pb2_grpc
from services.gateway.tenants import door
from services.runtime.boundary import Boundary
from tests.gateway.tenants.certificates import Authority

Metadata = tuple[tuple[str, str], ...]


class WhoAmI(generation_pb2_grpc.GenerationServiceServicer):
    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        door.entry().model, door.entry().request_id = request.model, request.request_id
        door.entry().cost_nanousd = 1_250
        identity = door.identity()
        return generation_pb2.GenerateResponse(text=f"{identity.tenant} by {identity.caller} via {identity.via}")

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        delta = generation_pb2.Delta(text=door.identity().tenant)
        yield generation_pb2.StreamGenerateResponse(delta=delta)


class NobodyInParticular(generation_pb2_grpc.GenerationServiceServicer):
    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        return generation_pb2.GenerateResponse(text="hello")


@asynccontextmanager
async def behind(
    *interceptors: grpc.aio.ServerInterceptor,
    servicer: generation_pb2_grpc.GenerationServiceServicer | None = None,
    authority: Authority | None = None,
) -> AsyncIterator[str]:
    """The address; with `authority`, of a server that wants its clients' certificates."""
    server = grpc.aio.server(interceptors=(Boundary(), *interceptors))
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(servicer or WhoAmI(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), server)
    if authority is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        certificate, key = authority.issue("server.test")
        pair = (key.read_bytes(), certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], authority.file.read_bytes(), require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def channel(address: str, authority: Authority | None = None, names: Sequence[str] = ()) -> grpc.aio.Channel:
    """With `authority`, one that shows a certificate with `names`."""
    if authority is None:
        return grpc.aio.insecure_channel(address)
    certificate, key = authority.issue(*names)
    credentials = grpc.ssl_channel_credentials(
        Path(authority.file).read_bytes(), key.read_bytes(), certificate.read_bytes()
    )
    return grpc.aio.secure_channel(address, credentials)


async def who(opened: grpc.aio.Channel, *metadata: tuple[str, str], model: str = "") -> str:
    """What the server says of the caller. Raises AioRpcError."""
    stub = generation_pb2_grpc.GenerationServiceStub(opened)
    request = generation_pb2.GenerateRequest(model=model, request_id="request-1")
    return (await stub.Generate(request, metadata=metadata, timeout=20)).text
