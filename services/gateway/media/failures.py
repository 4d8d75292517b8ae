"""What can be wrong with media that a request names, as callers are told."""

from chiasm.v1 import errors_pb2
from services.runtime.errors import InvalidArgument, NotFound, Unavailable


def not_stored(field: str) -> NotFound:
    """There is no such upload, or none of this tenant, or it has expired: a caller cannot tell which."""
    return NotFound(
        "no such upload is kept: upload the file, and use the name that the upload gives",
        field=field,
        reason=errors_pb2.ERROR_REASON_MEDIA_NOT_FOUND,
    )


def too_large(what: str, max_bytes: int, field: str) -> InvalidArgument:
    """`what` has more bytes than are taken."""
    return InvalidArgument(
        f"{what} has more than {max_bytes:,} bytes", field=field, reason=errors_pb2.ERROR_REASON_MEDIA_SIZE
    )


def not_fetched(problem: str, field: str) -> InvalidArgument:
    """An address that is not fetched, or whose server gives nothing of use. Must not tell of what is inside."""
    return InvalidArgument(problem, field=field, reason=errors_pb2.ERROR_REASON_MEDIA_NOT_FETCHED)


def store_unavailable() -> Unavailable:
    """The object store fails or is too slow. What it said is for the log alone."""
    return Unavailable("uploads cannot be reached now", reason=errors_pb2.ERROR_REASON_MEDIA_STORE_UNAVAILABLE)
