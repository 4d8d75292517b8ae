"""The one place where exceptions become statuses."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from chiasm.v1.errors_pb2 import ErrorReason
from services.runtime.errors import DOMAIN, ChiasmError, DeadlineExceeded, Internal, Overloaded, Unavailable, to_status
from services.runtime.interception import AroundInterceptor

logger = logging.getLogger(__name__)

_UNAVAILABLE = Unavailable.code, ErrorReason.ERROR_REASON_MODEL_UNAVAILABLE, "the model server is unavailable", 1.0
_TOO_SLOW = DeadlineExceeded.code, ErrorReason.ERROR_REASON_DEADLINE, "the model server ran out of time", None
# Said by gRPC itself of a message that is larger than it takes: the same call would not fare better.
_TOO_LARGE = Overloaded.code, ErrorReason.ERROR_REASON_OVERLOADED, "the model server does not take so much", None

_KNOWN_UPSTREAM = {
    grpc.StatusCode.UNAVAILABLE: _UNAVAILABLE,
    grpc.StatusCode.CANCELLED: _UNAVAILABLE,  # nobody here cancelled: the server went away under the call
    grpc.StatusCode.DEADLINE_EXCEEDED: _TOO_SLOW,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _TOO_LARGE,
}


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
            super().__init__(self.forwarded.message, reason=_reason(self.forwarded))
        elif error.code() in _KNOWN_UPSTREAM:
            self.code, reason, message, retry_after_s = _KNOWN_UPSTREAM[error.code()]
            super().__init__(message, reason=reason, retry_after_s=retry_after_s)
        else:
            super().__init__(f"the model server answered {error.code().name}: {error.details()}")


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
    return status if status is not None and _error_info(status).domain == DOMAIN else None


def _reason(status: status_pb2.Status) -> ErrorReason:
    name = f"ERROR_REASON_{_error_info(status).reason}"
    # A newer server may give reasons this one has never heard of.
    return ErrorReason.Value(name) if name in ErrorReason.keys() else ErrorReason.ERROR_REASON_UNSPECIFIED  # noqa: SIM118


def _error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    next((detail for detail in status.details if detail.Unpack(info)), None)
    return info
