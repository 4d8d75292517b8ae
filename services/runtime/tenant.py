"""On whose account a call is."""

import re

import grpc

from services.runtime.errors import InvalidArgument

METADATA_KEY = "chiasm-tenant"
DEFAULT_TENANT = "default"

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def tenant_of(context: grpc.aio.ServicerContext) -> str:
    """The tenant that the call's metadata names; `default` where it names none.

    Raises InvalidArgument when it is no name, or named more than once.
    """
    named = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if len(named) > 1:  # one of them may be a caller's that wants to be another
        raise InvalidArgument("given more than once", field=METADATA_KEY)
    tenant = named[0] if named else DEFAULT_TENANT
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise InvalidArgument("1 to 64 letters, digits, `.`, `_` or `-`", field=METADATA_KEY)
    return tenant
