"""Failures that travel: to followers in other processes, and into the cache."""

import logging

import grpc
from google.rpc import status_pb2

from services.runtime.errors import ChiasmError, Internal, reason_of, to_status

logger = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}


class Relayed(ChiasmError):
    """What the question failed with when it was asked: in another replica, or a moment ago."""

    def __init__(self, status: status_pb2.Status) -> None:
        """Raises ValueError where `status` is none of a failure."""
        if status.code not in _CODES:
            raise ValueError(f"status {status.code} is no failure")
        self.code = _CODES[status.code]
        self.forwarded = status
        super().__init__(status.message, reason=reason_of(status))


def status_of(error: Exception) -> status_pb2.Status:
    """What others may know of `error`; a fault's own text is only logged."""
    if isinstance(error, ChiasmError) and (error.forwarded or error.code is not grpc.StatusCode.INTERNAL):
        return to_status(error)
    logger.error("a question that others wait for failed", exc_info=error)
    return to_status(Internal("internal error"))
