"""Who may call a server: those whose certificate bears one of the names allowed."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import grpc

from services.runtime.errors import PermissionDenied
from services.runtime.interception import AroundInterceptor, is_standard

_NAMES = "x509_subject_alternative_name"


def certificate_names(context: grpc.aio.ServicerContext) -> tuple[str, ...]:
    """The subject alternative names of the certificate that the caller proved to hold; none without mTLS."""
    return tuple(name.decode("utf-8", "replace") for name in context.auth_context().get(_NAMES, ()))


class AllowedCallers(AroundInterceptor):
    """Refuses every call but those of `names` with PERMISSION_DENIED; health and reflection never.

    Args:
        names: subject alternative names of client certificates, exactly; everybody is allowed where empty.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        if self._names and not is_standard(method) and self._names.isdisjoint(certificate_names(context)):
            raise PermissionDenied("this server answers the callers that it is told of, and this is none of them")
        yield
