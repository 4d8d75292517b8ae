"""What can go wrong, as exceptions.

ChiasmError
├── InvalidArgument      the request is wrong; `field` names the part that is
├── NotFound             no such model, collection or upload
├── AlreadyExists        another of this name is there
├── FailedPrecondition   the server lacks something the task needs
├── Unauthenticated      the server does not know the caller
├── PermissionDenied     the caller may not do this
├── Overloaded           a limit or a budget has no room; `retry_after_s` says when to come again
├── Aborted              the answer broke off, or is not of the form asked for
├── Unavailable          no server answers, or it is shutting down
├── DeadlineExceeded     the answer was not complete in the time given
├── Cancelled            the server or the caller gave the call up
└── Internal             a fault of the server; `correlation_id` finds it in its logs
"""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status


class ChiasmError(Exception):
    """A call failed."""

    code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        retry_after_s: float | None = None,
        correlation_id: str = "",
        code: str = "",
    ) -> None:
        """Describes a failure.

        Args:
            message: What went wrong, for a person.
            reason: A name of `chiasm.v1.ErrorReason` without its prefix; empty when the server gave none.
            field: The request's field that is wrong, such as `messages[0].parts[0].media`; may be empty.
            retry_after_s: Seconds to wait before another try, 0 or more; None when the server does not say.
            correlation_id: Finds the fault in the server's logs; may be empty.
            code: The name of the gRPC status; the class's own when empty.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field
        self.retry_after_s = retry_after_s
        self.correlation_id = correlation_id
        self.code = code or type(self).code


class InvalidArgument(ChiasmError):
    """The request is wrong; `field` names the part that is."""

    code = "INVALID_ARGUMENT"


class NotFound(ChiasmError):
    """No such model, collection or upload is here."""

    code = "NOT_FOUND"


class AlreadyExists(ChiasmError):
    """Another collection of this name is there, made otherwise."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ChiasmError):
    """The server lacks something the task needs."""

    code = "FAILED_PRECONDITION"


class Unauthenticated(ChiasmError):
    """The server does not know the caller."""

    code = "UNAUTHENTICATED"


class PermissionDenied(ChiasmError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class Overloaded(ChiasmError):
    """A limit has no room: the server's, the model provider's or the caller's budget. `reason` says which."""

    code = "RESOURCE_EXHAUSTED"


class Aborted(ChiasmError):
    """The answer broke off, or is not of the form asked for. What came of it is not the whole."""

    code = "ABORTED"


class Unavailable(ChiasmError):
    """No server answers, or the one that does is shutting down."""

    code = "UNAVAILABLE"


class DeadlineExceeded(ChiasmError):
    """The answer was not complete in the time given."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(ChiasmError):
    """The server or the caller gave the call up."""

    code = "CANCELLED"


class Internal(ChiasmError):
    """A fault of the server."""

    code = "INTERNAL"


_BY_CODE: dict[str, type[ChiasmError]] = {
    error.code: error
    for error in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Unauthenticated,
        PermissionDenied,
        Overloaded,
        Aborted,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Internal,
    )
} | {"UNIMPLEMENTED": FailedPrecondition, "OUT_OF_RANGE": InvalidArgument}

# grpc.aio puts it in the place of the server's status where a stream ends while it is written to; another try may
# bring that status. https://github.com/grpc/grpc/issues/36066
_STATUS_LOST = "Internal error from Core"


def from_rpc_error(error: grpc.RpcError) -> ChiasmError:
    """The exception for a failed call, with what its AIP-193 details say. Codes without a class become `Internal`."""
    code, message = error.code().name, error.details() or ""
    found = _error(code, message, _status(error))
    if code == "RESOURCE_EXHAUSTED" and not found.reason and "larger than max" in message:
        return InvalidArgument(
            "the request is larger than the server takes: send smaller pictures or files", reason="MESSAGE_SIZE"
        )
    if code == "INTERNAL" and message == _STATUS_LOST:
        return Unavailable("the stream ended while it was written to, and gRPC has lost why")
    return found


def from_packed_status(packed: Any) -> ChiasmError:
    """The exception for an item of a stream that failed, packed as a `google.rpc.Status`."""
    status = Status()
    packed.Unpack(status)
    return _error(Code.Name(status.code) if status.code in Code.values() else "UNKNOWN", status.message, status)


def _error(code: str, message: str, status: Status) -> ChiasmError:
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for known in (info, bad_request, retry):
            detail.Unpack(known)
    return _BY_CODE.get(code, Internal)(
        message or code,
        reason=info.reason,
        field=bad_request.field_violations[0].field if bad_request.field_violations else "",
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        correlation_id=info.metadata.get("correlation_id", ""),
        code=code,
    )


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Around calls: raises a ChiasmError in the place of a failed one's exception."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def _status(error: grpc.RpcError) -> Status:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                return Status.FromString(value)
            except DecodeError:
                break  # what a broken proxy left; the status itself still stands
    return Status()
