"""Every error a service raises on purpose, and how it looks on the wire (AIP-193, https://google.aip.dev/193).

ChiasmError
├── InvalidArgument      INVALID_ARGUMENT     a field is missing or wrong; names it
├── NotFound             NOT_FOUND            no such model here
├── AlreadyExists        ALREADY_EXISTS       another of that name is here
├── Unauthenticated      UNAUTHENTICATED      the caller proves nobody's identity
├── PermissionDenied     PERMISSION_DENIED    the caller is known, and this is not for it
├── FailedPrecondition   FAILED_PRECONDITION  the server lacks a file
├── DeadlineExceeded     DEADLINE_EXCEEDED    the time given was not enough
├── Unimplemented        UNIMPLEMENTED        another of Chiasm's servers does this
├── Overloaded           RESOURCE_EXHAUSTED   too many calls; says when to come again
├── QuotaExhausted       RESOURCE_EXHAUSTED   a limit or a budget is used up; names it
├── Aborted              ABORTED              the answer broke off or is of no use
├── Unavailable          UNAVAILABLE          not ready, unreachable or shutting down; says when to come again
├── Cancelled            CANCELLED            the caller or the shutdown ended the call
├── Internal             INTERNAL             a fault of the server; its message is logged, never sent
└── boundary.Upstream    (any)                what a call to another server failed with
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from chiasm.v1.errors_pb2 import ErrorReason
from services.runtime.durations import duration_of

DOMAIN = "chiasm"

# A status travels in HTTP/2 trailers, of which clients accept 8 KiB; non-ASCII text takes up to 12 bytes a character
# there, and a field's message is sent three times.
MAX_MESSAGE_CHARACTERS = 300


class ChiasmError(Exception):
    """A failure that the caller may see.

    Args:
        message: what went wrong and what to do about it, for the caller's eyes; cut after 300 characters.
        reason: an `ErrorReason`; the class's own when omitted.
        field: the request's field at fault, as a path such as `messages[0].parts[1].media`.
        retry_after_s: seconds to wait before trying again, 0 or more; the class's own when omitted.
        metadata: more facts for programs, sent in `ErrorInfo.metadata`.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    default_reason: ClassVar[ErrorReason] = ErrorReason.ERROR_REASON_INTERNAL
    default_retry_after_s: ClassVar[float | None] = None

    forwarded: status_pb2.Status | None = None
    """The status as another of Chiasm's servers sent it, to be passed on unchanged; None for an error of our own."""
    was_retried: bool = False
    """Whether it was tried again here: a retry by the client's own channel would only multiply the attempts."""

    def __init__(
        self,
        message: str,
        *,
        reason: ErrorReason | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.default_reason if reason is None else reason
        self.field = field
        self.retry_after_s = self.default_retry_after_s if retry_after_s is None else retry_after_s
        self.metadata = dict(metadata or {})


class InvalidArgument(ChiasmError):
    """A field of the request is missing or wrong; `field` says which."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = ErrorReason.ERROR_REASON_FIELD_INVALID

    def __init__(
        self,
        message: str,
        *,
        field: str,
        reason: ErrorReason | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, field=field, metadata=metadata)


class NotFound(ChiasmError):
    """What the request names is not here."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = ErrorReason.ERROR_REASON_MODEL_NOT_FOUND


class AlreadyExists(ChiasmError):
    """What the request would make is here, and is another."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = ErrorReason.ERROR_REASON_COLLECTION_EXISTS


class Unimplemented(ChiasmError):
    """Another of Chiasm's servers does this."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = ErrorReason.ERROR_REASON_NOT_SERVED_HERE


class Unauthenticated(ChiasmError):
    """The call comes without a key, token or certificate that proves whose it is. The message never repeats one."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = ErrorReason.ERROR_REASON_UNAUTHENTICATED


class PermissionDenied(ChiasmError):
    """Who calls is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = ErrorReason.ERROR_REASON_PERMISSION_DENIED


class FailedPrecondition(ChiasmError):
    """The server cannot do this until an operator acts; the message says what is missing."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = ErrorReason.ERROR_REASON_WEIGHTS_MISSING


class DeadlineExceeded(ChiasmError):
    """The answer was not complete in the time given."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = ErrorReason.ERROR_REASON_DEADLINE


class Overloaded(ChiasmError):
    """The server has as many calls as it takes."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = ErrorReason.ERROR_REASON_OVERLOADED
    default_retry_after_s = 1.0


@dataclass(frozen=True)
class Violation:
    """A limit that is used up: whose it is, which one, and how much it allows."""

    subject: str
    quota_id: str
    quota_value: int


class QuotaExhausted(ChiasmError):
    """A limit or a budget leaves no room in the time given; `retry_after_s` is None where waiting does not help."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = ErrorReason.ERROR_REASON_QUOTA_EXHAUSTED

    def __init__(
        self,
        message: str,
        *,
        violation: Violation,
        retry_after_s: float | None,
        reason: ErrorReason | None = None,
    ) -> None:
        super().__init__(message, reason=reason, retry_after_s=retry_after_s)
        self.violation = violation


class Aborted(ChiasmError):
    """The answer broke off, or what came is of no use. What was delivered of it is not the whole."""

    code = grpc.StatusCode.ABORTED
    default_reason = ErrorReason.ERROR_REASON_ANSWER_BROKEN_OFF


class Unavailable(ChiasmError):
    """The server, or one it needs, is not ready, unreachable or shutting down."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = ErrorReason.ERROR_REASON_MODEL_UNAVAILABLE
    default_retry_after_s = 1.0


class Cancelled(ChiasmError):
    """The caller, or the server's shutdown, ended the call."""

    code = grpc.StatusCode.CANCELLED
    default_reason = ErrorReason.ERROR_REASON_CANCELLED


class Internal(ChiasmError):
    """A fault of the server. The boundary logs the message and sends a correlation id in its place."""

    code = grpc.StatusCode.INTERNAL
    default_reason = ErrorReason.ERROR_REASON_INTERNAL


def to_status(error: ChiasmError) -> status_pb2.Status:
    """The error as a status: `ErrorInfo` always; `BadRequest` for a field, `QuotaFailure` for a limit, `RetryInfo` for
    a wait."""
    if error.forwarded is not None:
        return error.forwarded
    message = _cut(error.message)
    reason = ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata)]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field), description=message, reason=reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, QuotaExhausted):
        details.append(_quota_failure(error.violation, message))
    if error.retry_after_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_of(error.retry_after_s)))
    status = status_pb2.Status(code=error.code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """Empty where the status has none."""
    info = error_details_pb2.ErrorInfo()
    next((detail for detail in status.details if detail.Unpack(info)), None)
    return info


def reason_of(status: status_pb2.Status) -> ErrorReason:
    """Unspecified where the status has none, or one that a newer server has and this one has never heard of."""
    name = f"ERROR_REASON_{info_of(status).reason}"
    return ErrorReason.Value(name) if name in ErrorReason.keys() else ErrorReason.ERROR_REASON_UNSPECIFIED  # noqa: SIM118


def _quota_failure(violation: Violation, message: str) -> error_details_pb2.QuotaFailure:
    return error_details_pb2.QuotaFailure(
        violations=[
            error_details_pb2.QuotaFailure.Violation(
                subject=violation.subject,
                description=message,
                quota_id=violation.quota_id,
                quota_value=violation.quota_value,
            )
        ]
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
