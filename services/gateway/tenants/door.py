"""The door of the gateway: no call but health and reflection passes it without a tenant, its limits and its record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import grpc

from services.gateway.tenants.audit import AuditLog, Entry
from services.gateway.tenants.identity import Identities, Identity
from services.gateway.tenants.limits import TenantLimits
from services.runtime.callers import certificate_names
from services.runtime.interception import AroundInterceptor, is_standard

_entry: ContextVar[Entry] = ContextVar("chiasm-audit-entry")


def entry() -> Entry:
    """The audit log's entry of the call that this is, for its handler to fill in."""
    return _entry.get()


def identity() -> Identity:
    """Whose call this is."""
    return _entry.get().identity


class Door(AroundInterceptor):
    """Args:
    identities: say who calls.
    limits: what each tenant may.
    audit: where each call is told of, those that were refused here too.
    """

    def __init__(self, identities: Identities, limits: TenantLimits, audit: AuditLog) -> None:
        self._identities = identities
        self._limits = limits
        self._audit = audit

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        if is_standard(method):
            yield
            return
        entry = Entry(method, certificate_names(context))
        with self._audit.call(entry):
            entry.identity = await self._identities.of(context)
            async with self._limits.held(entry.identity.policy):
                _entry.set(entry)  # of the call's own task, which ends with it
                yield
