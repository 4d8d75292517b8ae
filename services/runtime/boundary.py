"""The one place where exceptions become statuses."""

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_status import rpc_status

from chiasm.v1.errors_pb2 import ErrorReason
from services.runtime.errors import (
    DOMAIN,
    ChiasmError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    Overloaded,
    Unavailable,
    info_of,
    reason_of,
    to_status,
)
from services.runtime.interception import AroundInterceptor

logger = logging.getLogger(__name__)

_UNAVAILABLE = Unavailable.code, ErrorReason.ERROR_REASON_MODEL_UNAVAILABLE, "the model server is unavailable", 1.0
_TOO_SLOW = DeadlineExceeded.code, ErrorReason.ERROR_REASON_DEADLINE, "the model server ran out of time", None
_OVERLOADED = (
    Overloaded.code,
    ErrorReason.ERROR_REASON_OVERLOADED,
    "the model server has as many calls as it takes",
    Overloaded.default_retry_after_s,
)

_KNOWN_UPSTREAM = {
    grpc.StatusCode.UNAVAILABLE: _UNAVAILABLE,
    grpc.StatusCode.CANCELLED: _UNAVAILABLE,  # nobody here cancelled: the server went away under the call
    grpc.StatusCode.DEADLINE_EXCEEDED: _TOO_SLOW,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _OVERLOADED,
}

# grpc.aio puts it in the place of the server's status where a stream ends while it is written to:
# https://github.com/grpc/grpc/issues/36066
_STATUS_LOST = "Internal error from Core"
_LOST = Unavailable.code, ErrorReason.ERROR_REASON_INTERNAL, "the model server ended the stream, and gRPC lost why", 1.0

# Said by gRPC itself, on either side, of a request or an answer; its own code for it is RESOURCE_EXHAUSTED.
_TOO_LARGE = re.compile(r"larger than max(?: \((\d+) vs\. (\d+)\))?")


# https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
_NO_RETRY = ("grpc-retry-pushback-ms", "-1")


class Upstream(ChiasmError):
    """What a call to another server failed with.

    A status of Chiasm's own is passed on unchanged. Of others only the code is, where it means something to the
    caller: their text may name hosts and addresses, so it is logged at most.
    """

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.forwarded = _chiasm_status(error)
        if self.forwarded is not None:
            self.code = error.code()
            super().__init__(self.forwarded.message, reason=reason_of(self.forwarded))
        elif error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and (sizes := _TOO_LARGE.search(error.details() or "")):
            self.code = InvalidArgument.code
            super().__init__(_too_large(*sizes.groups()), reason=ErrorReason.ERROR_REASON_MESSAGE_SIZE)
        elif known := _known(error):
            self.code, reason, message, retry_after_s = known
            super().__init__(message, reason=reason, retry_after_s=retry_after_s)
        else:
            super().__init__(f"the model server answered {error.code().name}: {error.details()}")


def _known(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, ErrorReason, str, float | None] | None:
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _STATUS_LOST:
        return _LOST
    return _KNOWN_UPSTREAM.get(error.code())


class Boundary(AroundInterceptor):
    """Turns what a handler raises into a status with details; a fault becomes an opaque INTERNAL.

    `asyncio.CancelledError` and a handler's own `context.abort` pass untouched.
    """

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            if context.cancelled():  # nobody is there to be told, and writing to them is what may have failed
                raise asyncio.CancelledError from error
            if isinstance(error, NotImplementedError) and context.code() is grpc.StatusCode.UNIMPLEMENTED:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served here")  # generated default
            status = rpc_status.to_status(status_of(method, error))
            if isinstance(error, ChiasmError) and error.was_retried:
                status = status._replace(trailing_metadata=(*status.trailing_metadata, _NO_RETRY))
            await context.abort_with_status(status)


def status_of(method: str, error: Exception) -> status_pb2.Status:
    """What a caller of `method` is told of `error`; a fault is logged, and told as an opaque INTERNAL."""
    if isinstance(error, ChiasmError) and (error.forwarded or error.code is not grpc.StatusCode.INTERNAL):
        return to_status(error)
    correlation_id = uuid.uuid4().hex
    logger.error("%s failed", method, exc_info=error, extra={"correlation_id": correlation_id})
    message = f"internal error; correlation id {correlation_id}"
    return to_status(Internal(message, metadata={"correlation_id": correlation_id}))


def _chiasm_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):  # details that contradict the status, or are none
        return None
    return status if status is not None and info_of(status).domain == DOMAIN else None


def _too_large(size: str | None, most: str | None) -> str:
    if size is None:
        return "a message is larger than the server behind takes, or than is taken from it"
    return f"a message to or from the server behind has {int(size):,} bytes; at most {int(most):,} are taken"
