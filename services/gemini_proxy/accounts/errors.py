"""What the books fail with."""

from chiasm.v1 import errors_pb2
from services.runtime.errors import NotFound, Unavailable


class BooksUnavailable(Unavailable):
    """The store cannot be reached, and nothing may be spent without it."""

    default_reason = errors_pb2.ERROR_REASON_BOOKS_UNAVAILABLE


class UnknownAttempt(NotFound):
    """No such attempt was reserved, and the settlement does not say whose it was."""
