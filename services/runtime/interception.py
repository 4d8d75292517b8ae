"""Runs an interceptor's code around a call, whatever the call's kind."""

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import grpc

from services.runtime.errors import DeadlineExceeded

WRITE_S = 60.0
"""Seconds that a caller may take to make room for one message."""

_MAKE_HANDLER = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

# Standard services that operators and load balancers use. They are not counted, refused or traced.
_STANDARD_SERVICES = ("grpc.health.v1.", "grpc.reflection.")


def is_standard(method: str) -> bool:
    """Whether `method` (`package.Service/Method`) belongs to the health or the reflection service."""
    return method.startswith(_STANDARD_SERVICES)


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """An interceptor that is one async context manager around the handler. Handlers must be async."""

    @abstractmethod
    def around(self, method: str, context: grpc.aio.ServicerContext) -> AbstractAsyncContextManager[None]:
        """Entered before the handler of `method` (`package.Service/Method`) and left, in the same task, after it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method.lstrip("/")
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        respond = _stream if handler.response_streaming else _answer

        async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with self.around(method, context):
                return await respond(behaviour, request, context)

        return _MAKE_HANDLER[handler.request_streaming, handler.response_streaming](
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


async def _answer(behaviour: Callable[..., Any], request: Any, context: grpc.aio.ServicerContext) -> Any:
    return await behaviour(request, context)


async def _stream(behaviour: Callable[..., Any], request: Any, context: grpc.aio.ServicerContext) -> None:
    """Writes what the handler yields.

    grpc.aio abandons an async generator whose call is cancelled while it waits at a `yield`: its clean-up then runs
    whenever the garbage collector finds it, in another task and context. Closing it here keeps clean-up in the call.
    """
    responses = behaviour(request, context)
    if not inspect.isasyncgen(responses):
        await responses
        return
    async with aclosing(responses):
        async for response in responses:
            try:
                async with asyncio.timeout(WRITE_S):
                    await context.write(response)
            except TimeoutError:
                raise DeadlineExceeded(f"the caller took nothing for {WRITE_S:.3g} s") from None
