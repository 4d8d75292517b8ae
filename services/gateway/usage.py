"""UsageService, passed on to the server that keeps the ledger: to tenants of the policy, their own part of it."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from chiasm.v1 import errors_pb2, usage_pb2, usage_pb2_grpc
from services.gateway.config import GatewaySettings
from services.gateway.forwarding import Method, Terms, answer, answers
from services.gateway.target_channel import channel_to
from services.gateway.tenants import door
from services.runtime.deadline import remaining_s
from services.runtime.errors import FailedPrecondition, PermissionDenied

NO_TARGET = "no server keeps the usage of this gateway: set CHIASM_GATEWAY_USAGE_TARGET to a gemini_proxy's host:port"


class UsageForwarder(usage_pb2_grpc.UsageServiceServicer):
    """Raises Upstream from every call."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._stub: usage_pb2_grpc.UsageServiceStub | None = None

    def open(self) -> None:
        """To be called before the first call. Raises OSError when a certificate cannot be read."""
        if self._settings.usage_target is not None:
            # One without a key for its provider still has its ledger, so it need not be ready.
            self._channel = channel_to(self._settings.usage_target, self._settings, service=None)
            self._stub = usage_pb2_grpc.UsageServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.QueryUsageResponse:
        _narrow(request.filter)
        return await answer(self._method("QueryUsage"), request, self._terms(context))

    async def ListLedgerEntries(
        self, request: usage_pb2.ListLedgerEntriesRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListLedgerEntriesResponse:
        _narrow(request.filter)
        return await answer(self._method("ListLedgerEntries"), request, self._terms(context))

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListBudgetsResponse:
        _narrow(request)
        return await answer(self._method("ListBudgets"), request, self._terms(context))

    async def ReconcileUsage(
        self, requests: AsyncIterator[usage_pb2.ReconcileUsageRequest], context: grpc.aio.ServicerContext
    ) -> usage_pb2.ReconcileUsageResponse:
        if not door.identity().may_see_all:
            raise PermissionDenied("only who may act for every tenant may correct the ledger")
        return await answer(self._method("ReconcileUsage"), requests, self._terms(context))

    async def ExportLedger(
        self, request: usage_pb2.ExportLedgerRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[usage_pb2.ExportLedgerResponse]:
        _narrow(request.filter)
        responses = answers(self._method("ExportLedger"), request, self._terms(context))
        async with aclosing(responses):
            async for response in responses:
                yield response

    def _method(self, name: str) -> Method:
        if self._stub is None:
            raise FailedPrecondition(NO_TARGET, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        return getattr(self._stub, name)

    def _terms(self, context: grpc.aio.ServicerContext) -> Terms:
        return Terms.of_call(remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s))


def _narrow(whose: usage_pb2.UsageFilter | usage_pb2.ListBudgetsRequest) -> None:
    """To what the caller may see. Raises PermissionDenied where it asks for another tenant's."""
    identity = door.identity()
    if identity.may_see_all:
        return
    if whose.tenant not in ("", identity.tenant):
        raise PermissionDenied(f"{identity.caller} may not see what {whose.tenant} uses")
    whose.tenant = identity.tenant
