"""Why an attempt failed, and what that means for the next one."""

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2

from chiasm.v1 import errors_pb2, generation_pb2
from services.gateway.policy import FallbackReason
from services.runtime.errors import ChiasmError, DeadlineExceeded

_REASONS: dict[grpc.StatusCode, FallbackReason] = {
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.CANCELLED: "unavailable",  # by the model server: nobody here cancelled
    grpc.StatusCode.FAILED_PRECONDITION: "unavailable",  # it lacks a file or a key, which another may have
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "quota",
    grpc.StatusCode.ABORTED: "broken",
    grpc.StatusCode.INTERNAL: "broken",
    grpc.StatusCode.UNKNOWN: "broken",
    grpc.StatusCode.DATA_LOSS: "broken",
}

# What tells of a target that is not well. A refusal does not, nor does a deadline that was the caller's.
_FAULTS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
}


class TooSlow(DeadlineExceeded):
    """An attempt that took longer than was expected of it was given up, while another could still make the deadline."""


@dataclass(frozen=True)
class Failure:
    """An attempt's error, read."""

    error: ChiasmError

    @property
    def reason(self) -> FallbackReason | None:
        """None where the request itself is at fault: no other target would do better."""
        if self.error.reason == errors_pb2.ERROR_REASON_MESSAGE_SIZE:
            return "quota"  # of bytes, which another may have more of
        return _REASONS.get(self.error.code)

    @property
    def of_target(self) -> bool:
        """Whether the target is at fault."""
        return self.error.code in _FAULTS or isinstance(self.error, TooSlow)

    @property
    def superseded(self) -> generation_pb2.SupersededReason:
        """What callers are told who have seen a part of the answer."""
        if self.reason == "timeout":
            return generation_pb2.SUPERSEDED_REASON_SLOW
        return generation_pb2.SUPERSEDED_REASON_BROKEN

    @property
    def retry_after_s(self) -> float | None:
        """When the target itself asks to be asked again, in seconds; None where it does not say."""
        info = error_details_pb2.RetryInfo()
        details = self.error.forwarded.details if self.error.forwarded else ()
        if any(detail.Unpack(info) for detail in details):
            return max(0.0, info.retry_delay.ToNanoseconds() / 1e9)
        return None

    @property
    def may_retry(self) -> bool:
        """Whether the same target may do better at a second try."""
        match self.error.code:
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return self.retry_after_s is not None
            case code:
                return code in _FAULTS
