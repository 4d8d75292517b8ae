from collections.abc import AsyncIterator

import grpc
import pytest

from services.runtime.errors import InvalidArgument
from services.runtime.tenant import tenant_of

METHOD = "/tests.Tenant/Get"


class TenantHandler(grpc.GenericRpcHandler):
    """Answers with the tenant, or with the field at fault."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(self.get)

    async def get(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            return tenant_of(context).encode()
        except InvalidArgument as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.field)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(handlers=(TenantHandler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def tenant(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> str:
    return (await channel.unary_unary(METHOD)(b"", metadata=metadata)).decode()


async def test_a_tenant_named_twice_is_refused(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tenant(channel, ("chiasm-tenant", "mine"), ("chiasm-tenant", "yours"))
    assert caught.value.details() == "chiasm-tenant"


async def test_the_metadata_names_the_tenant(channel: grpc.aio.Channel) -> None:
    assert await tenant(channel, ("chiasm-tenant", "Search_2.eu-west")) == "Search_2.eu-west"


async def test_without_a_name_it_is_the_default(channel: grpc.aio.Channel) -> None:
    assert await tenant(channel, ("other", "thing")) == "default"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "*", "x" * 65])
async def test_what_is_no_name_is_refused(channel: grpc.aio.Channel, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tenant(channel, ("chiasm-tenant", name))
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", "chiasm-tenant")
